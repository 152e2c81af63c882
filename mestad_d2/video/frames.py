"""Frames of a clip straight from a video file or a folder of frames, at any frame rate.

Times are seconds from the first frame. Only what a clip needs is decoded (``video_reader``).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import av
import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.video.folder import FOLDER_FPS, is_folder, open_folder, read_picture
from mestad_d2.video.reader import VideoReader

# Open files a process keeps, in number and in pixels (each holds some decoded frames).
MAX_OPEN = 128
MAX_OPEN_PIXELS = 8 * 1280 * 720


@dataclass(frozen=True)
class VideoInfo:
    """``height`` and ``width`` in pixels as shown, ``fps`` on average, ``duration`` in s (0: unknown)."""

    height: int
    width: int
    fps: float
    duration: float


class _OpenFiles:
    """The readers of this process, least recently used first; forked workers start with none."""

    def __init__(self) -> None:
        self.readers: OrderedDict[str, VideoReader] = OrderedDict()
        self.inherited: list[OrderedDict[str, VideoReader]] = []
        self.process = os.getpid()

    def get(self, path: str) -> VideoReader:
        """The reader of ``path``, opened if need be."""
        if self.process != os.getpid():
            # A fork shares file offsets, so these must not be used; nor freed, as their threads are not here.
            self.inherited.append(self.readers)
            self.readers, self.process = OrderedDict(), os.getpid()
        if path not in self.readers:
            self.readers[path] = VideoReader(path)
            while len(self.readers) > 1 and self._too_many():
                self.readers.popitem(last=False)[1].close()
        self.readers.move_to_end(path)
        return self.readers[path]

    def drop(self, path: str) -> None:
        """Close a reader that failed, so that the next use opens the file anew."""
        if path in self.readers and self.process == os.getpid():
            self.readers.pop(path).close()

    def _too_many(self) -> bool:
        pixels = sum(reader.size[0] * reader.size[1] for reader in self.readers.values())
        return len(self.readers) > MAX_OPEN or pixels > MAX_OPEN_PIXELS


_OPEN = _OpenFiles()


@lru_cache(maxsize=65536)
def probe(path: str, folder_fps: float = FOLDER_FPS) -> VideoInfo:
    """Size, frame rate and length of a video file or a folder of frames.

    Args:
        path: video file or folder of frames.
        folder_fps: frames per second of a folder.

    Raises:
        UserError: nothing there that can be decoded.
    """
    if is_folder(path):
        folder = open_folder(path)
        height, width = read_picture(folder.path(0)).shape[:2]
        return VideoInfo(height, width, folder_fps, (int(folder.places[-1]) + 1) / folder_fps)
    reader = VideoReader(path)
    reader.close()
    return VideoInfo(*reader.size, reader.fps, reader.duration)


def read_frames(
    path: str,
    times: Sequence[float],
    *,
    short_side: int | None = None,
    folder_fps: float = FOLDER_FPS,
) -> np.ndarray:
    """Frames nearest to ``times``, as (T, H, W, 3) uint8 RGB; times outside the video are clamped.

    Args:
        path: video file or folder of frames (in the order of their numbers).
        times: seconds from the first frame, in any order.
        short_side: shrink frames whose shorter side is longer than this, in pixels.
        folder_fps: frames per second of a folder.

    Raises:
        UserError: the file can't be read at one of these times; names both.
    """
    wanted = sorted({max(float(time), 0.0) for time in times})
    if is_folder(path):
        images = open_folder(path).read(wanted, folder_fps, short_side)
    else:
        images = _file_images(path, wanted, short_side)
    by_time = dict(zip(wanted, images, strict=True))
    return np.stack([by_time[max(float(time), 0.0)] for time in times])


def _file_images(path: str, times: Sequence[float], short_side: int | None) -> list[np.ndarray]:
    try:
        reader = _OPEN.get(path)
    except UserError as error:
        raise UserError(f"{error}; wanted at {times[0]:.2f} s") from error
    try:
        return reader.read(times, short_side)
    except (av.FFmpegError, OSError) as error:
        _OPEN.drop(path)
        raise UserError(f"{path}: can't be read at {times[0]:.2f} s ({error}); encode it anew") from error
    except UserError:
        _OPEN.drop(path)
        raise
