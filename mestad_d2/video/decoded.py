"""Whole videos decoded once into arrays on disk, which every process maps into its memory."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mestad_d2.formats.files import atomic_path
from mestad_d2.video.clips import nearest_indices
from mestad_d2.video.reader import VideoReader


def decode_whole(path: str, folder: str | os.PathLike[str], short_side: int | None) -> Path:
    """Decode a video file into ``folder`` unless it is there; return the file of its frames.

    Frames are (F, H, W, 3) uint8 RGB, as ``read_frames`` gives them; their times lie beside them.

    Raises:
        UserError: nothing there that can be decoded.
    """
    stat = os.stat(path)
    facts = (str(Path(path).resolve()), stat.st_size, stat.st_mtime_ns, short_side)
    stem = Path(folder) / hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
    frames = stem.with_suffix(".npy")
    if not frames.is_file():
        stem.parent.mkdir(parents=True, exist_ok=True)
        reader = VideoReader(path)
        found = [(time, reader.make_picture(frame, short_side)) for time, frame in reader.frames_from(0.0)]
        reader.close()
        found.sort(key=lambda pair: pair[0])
        # Write the times first: a process that finds the frames needs them too.
        for target, array in (
            (stem.with_suffix(".times.npy"), np.array([time for time, _ in found])),
            (frames, np.stack([picture for _, picture in found])),
        ):
            with atomic_path(target, many_writers=True) as part, open(part, "wb") as file:
                np.save(file, array)
    return frames


def decode_all(jobs: Sequence[tuple[str, int | None]], folder: str | os.PathLike[str], workers: int) -> None:
    """Call ``decode_whole`` in so many processes for each (path, short side)."""
    with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
        paths, sides = zip(*jobs, strict=True)
        list(pool.map(decode_whole, paths, repeat(str(folder)), sides, chunksize=4))


@lru_cache(maxsize=4096)
def _mapped(path: str, folder: str, short_side: int | None) -> tuple[np.ndarray, np.ndarray]:
    frames = decode_whole(path, folder, short_side)
    return np.load(frames, mmap_mode="r"), np.load(frames.with_suffix(".times.npy"))


def read_decoded(
    path: str, times: Sequence[float], folder: str | os.PathLike[str], short_side: int | None = None
) -> np.ndarray:
    """Read frames nearest to ``times`` (s) from a video decoded into ``folder``; see ``read_frames``."""
    frames, stamps = _mapped(path, str(folder), short_side)
    return frames[nearest_indices(stamps, np.maximum(times, 0.0))]
