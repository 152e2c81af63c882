"""Remember which files a tool made in a folder, so that it removes these and nothing else later."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from mestad_d2.formats.files import write_json

MANIFEST = ".made_by_mestad_d2.json"

# SHA-256 of each file by its path below the folder; None: not there yet.
Marks = dict[str, str | None]


def note_made(folder: Path, files: Iterable[Path]) -> None:
    """Write the list of files that were made below ``folder``, with their digests, into the folder.

    Files that are not there yet are those that the tool is about to make.

    Raises:
        UserError: the folder can't be written to.
    """
    marks = {path.relative_to(folder).as_posix(): _mark(path) for path in files}
    write_json(folder / MANIFEST, {"files": marks})


def is_made(folder: Path) -> bool:
    """Return whether ``folder`` has a list of made files."""
    return (folder / MANIFEST).is_file()


def made_files(folder: Path) -> list[Path]:
    """Return the listed files that are there."""
    return [path for path, _ in _listed(folder)]


def changed_since(folder: Path) -> list[Path]:
    """Return the listed files that have changed since."""
    return [path for path, mark in _listed(folder) if mark is not None and _mark(path) != mark]


def remove_made(folder: Path) -> None:
    """Remove the unchanged files that ``note_made`` listed, and folders that are empty then."""
    changed, folders = set(changed_since(folder)), set()
    for path, _ in _listed(folder):
        if path not in changed:
            path.unlink()
            folders |= {above for above in path.parents if folder in above.parents}
    (folder / MANIFEST).unlink(missing_ok=True)
    for inner in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        if inner.is_dir() and not any(inner.iterdir()):
            inner.rmdir()


def _listed(folder: Path) -> list[tuple[Path, str | None]]:
    """Listed files that are there."""
    files = [(folder / name, mark) for name, mark in _read(folder).items()]
    # An edited list must not reach files elsewhere, nor through a link.
    return [
        (path, mark)
        for path, mark in files
        if path.resolve() == folder.resolve() / path.relative_to(folder) and path.is_file()
    ]


def _mark(path: Path) -> str | None:
    """Digest of the content: copies of a folder have other times."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None


def _read(folder: Path) -> Marks:
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {n: m for n, m in files.items() if not Path(n).is_absolute()} if isinstance(files, dict) else {}
