"""Write files whole or not at all: written aside, flushed to the disk, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mestad_d2.errors import UserError


@contextmanager
def atomic_path(
    path: str | os.PathLike[str], *, keep_suffix: bool = False, many_writers: bool = False, fix: str = ""
) -> Iterator[Path]:
    """Give the path of a temporary file beside ``path`` that takes its place when the block succeeds.

    When the block fails, the temporary file is removed and the old file at ``path`` is kept. Folders
    above are made. A link keeps pointing to where it did; devices and pipes are written to directly.

    Args:
        path: the file to write.
        keep_suffix: the temporary file ends like ``path``, for libraries that tell the format from it.
        many_writers: other processes may write the same file; each uses its own temporary file.
        fix: what the user can do, put at the end of the error message.
    Raises:
        UserError: the place can't be written to, or the disk is full.
    """
    path = Path(os.path.realpath(path))
    try:
        if path.is_dir():
            raise UserError(f"{path}: is a folder; give the name of a file")
        if path.exists() and not path.is_file():
            yield path
            return
        part = f"part{os.getpid()}" if many_writers else "part"
        name = f".{path.stem}.{part}{path.suffix}" if keep_suffix else f".{path.name}.{part}"
        aside = path.with_name(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield aside
            _flush(aside)
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        # Errors about other files, such as an input that the block reads, pass unchanged.
        names = {str(path), str(path.parent), *([str(aside)] if "aside" in locals() else [])}
        if error.filename is not None and str(error.filename) not in names:
            raise
        raise UserError(not_written(path, error, fix)) from error


@contextmanager
def atomic_files(path: str | os.PathLike[str], *, fix: str = "") -> Iterator[Path]:
    """Give the path of a file in a temporary folder beside ``path``, for libraries that write several files.

    When the block succeeds, the files of that folder take their places, the one named ``path`` last. When it
    fails, or the process is killed before, the old files are kept; what a killed process left is removed next time.

    Args:
        path: the main file.
        fix: what the user can do, put at the end of the error message.
    Raises:
        UserError: the place can't be written to, or the disk is full.
    """
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise UserError(f"{path}: is a folder; give the name of a file")
    folder = path.with_name(f".{path.name}.parts")
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder / path.name
        for file in (files := sorted(folder.iterdir(), key=lambda file: file.name == path.name)):
            _flush(file)
        for file in files:
            os.replace(file, path.with_name(file.name))
    except OSError as error:
        # Errors about other files, such as an input that the block reads, pass unchanged.
        if error.filename is not None and path.parent not in Path(str(error.filename)).absolute().parents:
            raise
        raise UserError(not_written(path, error, fix)) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_open(
    path: str | os.PathLike[str], mode: str = "w", *, newline: str | None = None, fix: str = ""
) -> Iterator[IO[Any]]:
    """Open a file for writing that appears under its name only when the block succeeds; text is UTF-8.

    See ``atomic_path``. Names that are no valid UTF-8 are written as the bytes that they are.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape", "newline": newline}
    with atomic_path(path, fix=fix) as aside, open(aside, mode, **text) as file:
        yield file


def write_text(path: str | os.PathLike[str], text: str, *, fix: str = "") -> None:
    """Write a text file in UTF-8, whole or not at all."""
    with atomic_open(path, newline="", fix=fix) as file:
        file.write(text)


def write_bytes(path: str | os.PathLike[str], content: bytes, *, fix: str = "") -> None:
    """Write a binary file, whole or not at all."""
    with atomic_open(path, "wb", fix=fix) as file:
        file.write(content)


def write_json(path: str | os.PathLike[str], content: Any, *, indent: int | None = 1, fix: str = "") -> None:
    """Write strict JSON (no NaN), whole or not at all.

    Raises:
        ValueError: a number that is not finite; nothing is written.
    """
    write_text(path, json.dumps(content, indent=indent, allow_nan=False) + "\n", fix=fix)


def not_written(path: Path, error: Exception, fix: str = "") -> str:
    """Return the line that says why ``path`` was not written and how much space is free."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())
    try:
        free = f"; {shutil.disk_usage(path.parent).free / 2**20:.1f} MB free there"
    except OSError:
        free = ""
    fix = fix or "make room there, or give another path"
    return f"{path}: not written ({reason}{free}), what was there before is untouched; {fix}"


def _flush(path: Path) -> None:
    """Have the disk hold the content before the name points to it."""
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
