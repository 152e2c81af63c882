"""Uploads of visitors: limits of size and lifetime."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mestad_d2.errors import UserError


class Uploads:
    """Count the files in the folder of uploads, and remove those unused for a while.

    Args:
        folder: everything in it counts; files with two names count once.
        visit_bytes: that the uploads of one visitor may take together.
        total_bytes: that the folder may take.
        keep: seconds after its last use until a file is removed.
    """

    def __init__(self, folder: Path, visit_bytes: int, total_bytes: int, keep: float) -> None:
        self.folder, self.visit_bytes, self.total_bytes, self.keep = folder, visit_bytes, total_bytes, keep
        self._of_visitor: dict[str, set[Path]] = defaultdict(set)
        self._coming: dict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    @contextmanager
    def room(self, visitor: str, size: int) -> Iterator[None]:
        """Reserve ``size`` bytes for an upload while it arrives.

        Raises:
            UserError: the visitor, or all together, would have too much.
        """
        with self._lock:
            mine = sum(_size(path) for path in self._of_visitor[visitor]) + self._coming[visitor]
            everything = self.used() + sum(self._coming.values())
            if mine + size > self.visit_bytes:
                raise UserError(f"your videos take more than {self.visit_bytes / 2**20:.0f} MB together")
            if everything + size > self.total_bytes:
                raise UserError("the server has no room for more videos; try again later")
            self._coming[visitor] += size
        try:
            yield
        finally:
            with self._lock:
                self._coming[visitor] -= size
                if not self._coming[visitor]:
                    del self._coming[visitor]

    def add(self, visitor: str, paths: Iterable[str]) -> None:
        """Note whose the files are."""
        with self._lock:
            self._of_visitor[visitor] |= {Path(path) for path in paths}

    def used(self) -> int:
        """Return the bytes of all files in the folder."""
        sizes = {}
        for folder, _, names in os.walk(self.folder):
            for name in names:
                with suppress(OSError):
                    status = os.stat(os.path.join(folder, name))
                    sizes[status.st_ino] = status.st_size
        return sum(sizes.values())

    @staticmethod
    def touch(path: Path) -> None:
        """Note that a file is in use now."""
        with suppress(OSError):
            os.utime(path)

    def sweep(self) -> None:
        """Remove the files whose last use is too long ago, and the folders that this leaves empty.

        Other empty folders stay: a drawing may be about to write into one.
        """
        oldest, emptier = time.time() - self.keep, set()
        for folder, _, names in os.walk(self.folder, topdown=False):
            for name in names:
                path = os.path.join(folder, name)
                with suppress(OSError):
                    if os.stat(path).st_mtime < oldest:
                        os.unlink(path)
                        emptier.add(folder)
            if folder in emptier and Path(folder) != self.folder:
                with suppress(OSError):
                    os.rmdir(folder)
                    emptier.add(os.path.dirname(folder))
        with self._lock:
            for visitor, paths in list(self._of_visitor.items()):
                paths -= {path for path in paths if not path.exists()}
                if not paths:
                    del self._of_visitor[visitor]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def sweep_regularly(uploads: Uploads, stopped: threading.Event) -> threading.Thread:
    """Sweep every quarter of the time that files are kept, at most once a minute, until ``stopped`` is set."""

    def work() -> None:
        while not stopped.wait(min(max(uploads.keep / 4, 0.2), 60.0)):
            uploads.sweep()

    thread = threading.Thread(target=work, daemon=True, name="sweep uploads")
    thread.start()
    return thread
