"""Refuse outputs that would overwrite inputs, before anything is written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mestad_d2.errors import UserError

PathLike = str | os.PathLike[str]


def refuse_overwriting_inputs(inputs: Iterable[PathLike | None], outputs: Iterable[PathLike | None]) -> None:
    """Raise an error if a file or folder to be written is one that is read.

    Files are compared as the file system sees them, so that symbolic links, hard links and names that differ in case
    only are found. An output inside an input folder is refused too: it would become a frame of that video.

    Args:
        inputs: files and folders that are read; None and missing paths are ignored. Do not name a folder
            whose files are the inputs: name those files.
        outputs: files and folders that will be written.

    Raises:
        UserError: names the output and the input.
    """
    files, folders = {}, {}
    for path in inputs:
        if path is not None and (known := _identity(path)) is not None:
            (folders if os.path.isdir(path) else files).setdefault(known, os.fspath(path))
    for output in outputs:
        if output is None:
            continue
        known = _identity(output)
        if known is not None and (known in files or known in folders):
            _refuse(output, files.get(known) or folders[known])
        # For an output that does not exist yet, its parent folders determine its place.
        above = Path(os.path.realpath(output)).parents if folders else ()
        for folder in above:
            if (known := _identity(folder)) in folders:
                _refuse(output, folders[known])


def _identity(path: PathLike) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _refuse(output: PathLike, source: str) -> None:
    raise UserError(
        f"{os.fspath(output)}: writing it would overwrite the input {source}; name another --output"
    )
