"""Worker setups without a model, for tests of worker pools; the names of "videos" say what happens."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FakeSetup:
    """``die-once`` and ``die-always`` kill their own process, ``bad`` raises, ``slow`` sleeps for a minute.

    Attributes:
        marks: folder where each run of a video leaves a file.
        broken: setting up fails.
    """

    marks: Path
    broken: bool = False

    def __call__(self, number: int) -> Callable[[str], bytes]:
        """The function video -> result."""
        if self.broken:
            raise ValueError("no weights\nhere")

        def detect(video: str) -> bytes:
            runs = len(list(self.marks.glob(f"{video}.*")))
            (self.marks / f"{video}.{runs}").write_text(str(os.getpid()))
            if video.startswith("die-always") or (video.startswith("die-once") and not runs):
                os.kill(os.getpid(), signal.SIGKILL)
            if video.startswith("bad"):
                raise ValueError("bad\nvideo")
            time.sleep(60 if video.startswith("slow") else 0.01)
            return f"{video}\n".encode()

        return detect
