"""Lock of an output folder, released by the system when the process ends, and the run's id."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import platform
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from detectron2.utils import comm

from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)

FILE = ".run.lock"
_held: dict[Path, IO[str]] = {}


def hold(folder: str | Path) -> None:
    """Lock a run's folder until this process ends or ``release`` is called; a second call changes nothing.

    With several processes, the main process holds the lock.

    Raises:
        UserError: another process holds it, or nothing can be written there.
    """
    folder = Path(folder).resolve()
    if not comm.is_main_process() or folder in _held:
        return
    path = folder / FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  (kept open: closing it gives the lock back)
    except OSError as error:
        raise UserError(f"OUTPUT_DIR: {folder} can't be written ({error.strerror}); give another") from error
    try:
        # Not flock: loader processes would inherit that lock and outlive a killed run with it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (11, 13):
            logger.warning("%s: this file system has no locks; see that no second run writes there", folder)
            _held[folder] = file
            return
        file.close()
        raise UserError(
            f"OUTPUT_DIR: {folder} is in use by {_holder(path)}; end that run or give another"
        ) from None
    _held[folder] = file


def release(folder: str | Path) -> None:
    """Release a folder's lock."""
    if file := _held.pop(Path(folder).resolve(), None):
        file.close()


def begin(folder: str | Path, resume: bool) -> str | None:
    """Lock the folder and give the run an id: a new one, or for a resumed run its own.

    All processes call it and get the same id. Checkpoints contain the id, so that a new run in an old folder is
    never resumed from the old run's; None for a run of a version without ids.

    Raises:
        UserError: as ``hold``.
    """
    hold(folder)
    folder = Path(folder).resolve()
    if comm.is_main_process() and (file := _held.get(folder)):
        file.seek(0)
        before = _content(file.read())
        run = before.get("run") if resume else uuid.uuid4().hex
        content = {
            "run": run,
            "pid": os.getpid(),
            "host": platform.node(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        file.truncate(0)
        file.write(json.dumps(content) + "\n")
        file.flush()
    comm.synchronize()
    if comm.is_main_process():
        return run
    return _content((folder / FILE).read_text(encoding="utf-8")).get("run")


def _content(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _holder(path: Path) -> str:
    found = _content(path.read_text(encoding="utf-8", errors="replace"))
    if "pid" not in found:
        return "another run"
    return f"the run of process {found['pid']} on {found.get('host')} since {found.get('since')}"
