"""Turn write errors of result files into one-line user errors."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av

from mestad_d2.errors import UserError


@contextmanager
def said_if_unwritable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn write errors below ``path`` (no permission, disk full) into a ``UserError``."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        where = error.filename or path
        raise UserError(f"{where}: can't be written ({error.strerror}); give another --output") from error


def output_folder(path: Path) -> Path:
    """Return the folder, created if missing.

    Raises:
        UserError: it can't be made, or nothing can be written there.
    """
    with said_if_unwritable(path):
        path.mkdir(parents=True, exist_ok=True)
        # Permissions and read-only disks are best tested by writing.
        with tempfile.TemporaryFile(dir=path):
            pass
    return path
