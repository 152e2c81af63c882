"""Turn write errors of result files into one-line user errors."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


class LineFile:
    """Writes lines that others may read at once; use it as a context manager.

    Where the disk is full, the file ends with its last whole line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with said_if_unwritable(path):
            # Without a buffer: it would be written again when the file is closed.
            self._file = open(path, "wb", buffering=0)  # noqa: SIM115

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, line: str) -> None:
        """Write one line whole, or nothing of it.

        Raises:
            UserError: the disk is full.
        """
        content, begin, done = line.encode("utf-8", "surrogateescape"), self._file.tell(), 0
        try:
            with said_if_unwritable(self._path):
                while done < len(content):
                    done += self._file.write(content[done:])
        except UserError:
            self._file.truncate(begin)
            raise


@contextmanager
def made_if_used(path: Path) -> Iterator[None]:
    """Make the output folder; one that nothing was written to is removed afterwards, unless it was there before.

    Raises:
        UserError: see ``output_folder``.
    """
    made = not path.exists()
    output_folder(path)
    try:
        yield
    finally:
        if made:
            with suppress(OSError):
                path.rmdir()


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
