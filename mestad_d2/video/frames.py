"""Frames of a clip straight from a video file or a folder of frames, at any frame rate.

Times are seconds from the first frame. Only what a clip needs is decoded (``video_reader``).
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence

import av
import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.video.clips import clip_times
from mestad_d2.video.decode.frame_grid import on_grid
from mestad_d2.video.decoded import read_decoded
from mestad_d2.video.folder import FOLDER_FPS
from mestad_d2.video.reader import VideoReader
from mestad_d2.video.source import VideoSource, open_source

# Open files a process keeps, in number and in pixels (each holds some decoded frames).
MAX_OPEN = 128
MAX_OPEN_PIXELS = 8 * 1280 * 720


class _OpenFiles:
    """The readers of this process, least recently used first; forked workers start with none."""

    def __init__(self) -> None:
        self.readers: OrderedDict[tuple, VideoReader] = OrderedDict()
        self.inherited: list[OrderedDict[tuple, VideoReader]] = []
        self.process = os.getpid()

    def get(self, source: VideoSource) -> VideoReader:
        """The reader of a file, opened if need be."""
        if self.process != os.getpid():
            # A fork shares file offsets, so these readers can't be used; nor freed, as their threads don't exist here.
            self.inherited.append(self.readers)
            self.readers, self.process = OrderedDict(), os.getpid()
        key = (source.place, source.stream)
        if key not in self.readers:
            self.readers[key] = VideoReader(source.place, source.stream, source.max_pixels, source.joined)
            while len(self.readers) > 1 and self._too_many():
                self.readers.popitem(last=False)[1].close()
        self.readers.move_to_end(key)
        return self.readers[key]

    def drop(self, source: VideoSource) -> None:
        """Close a reader that failed, so that the next use opens the file anew."""
        key = (source.place, source.stream)
        if key in self.readers and self.process == os.getpid():
            self.readers.pop(key).close()

    def _too_many(self) -> bool:
        pixels = sum(reader.size[0] * reader.size[1] for reader in self.readers.values())
        return len(self.readers) > MAX_OPEN or pixels > MAX_OPEN_PIXELS


_OPEN = _OpenFiles()


def read_frames(
    video: VideoSource | str | os.PathLike[str],
    times: Sequence[float],
    *,
    short_side: int | None = None,
    folder_fps: float = FOLDER_FPS,
) -> np.ndarray:
    """Read the frames nearest to ``times`` as (T, H, W, 3) uint8 RGB; times outside the video are clamped.

    Args:
        video: description, or any input of ``open_source``.
        times: seconds from the first frame, in any order.
        short_side: shrink frames whose shorter side is longer than this, in pixels.
        folder_fps: frames per second of a folder, where ``video`` is no description.

    Raises:
        UserError: the file can't be read at one of these times; names both.
    """
    source = open_source(video, folder_fps=folder_fps)
    wanted = sorted({max(float(time), 0.0) for time in times})
    if source.kind == "camera":
        raise UserError(f"{source}: a camera has no frames at given times; record it to a file")
    if source.pictures is not None:
        images = source.pictures.read(wanted, source.fps, short_side)
    else:
        images = _file_images(source, wanted, short_side)
    by_time = dict(zip(wanted, images, strict=True))
    return np.stack([by_time[max(float(time), 0.0)] for time in times])


def _file_images(source: VideoSource, times: Sequence[float], short_side: int | None) -> list[np.ndarray]:
    try:
        reader = _OPEN.get(source)
    except UserError as error:
        raise UserError(f"{error}; wanted at {times[0]:.2f} s") from error
    try:
        return reader.read(times, short_side)
    except (av.FFmpegError, OSError) as error:
        _OPEN.drop(source)
        raise UserError(f"{source}: can't be read at {times[0]:.2f} s ({error}); encode it anew") from error
    except UserError:
        _OPEN.drop(source)
        raise


class ClipReader:
    """Reads the frames of clips, with a bounded memory of decoded ones."""

    def __init__(
        self,
        num_frames: int,
        sampling_rate: int,
        fps: float,
        still: bool,
        cache_mb: int,
        decoded_dir: str = "",
        grid: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        self.grid = grid
        self.num_frames, self.sampling_rate, self.fps = num_frames, sampling_rate, fps
        self.still, self.cache_bytes = still, cache_mb * 2**20
        self._cache: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._used = 0
        self.decoded_dir = decoded_dir

    def __call__(
        self,
        video: VideoSource | str,
        timestamp: float,
        short_side: int | None,
        shifts: np.ndarray | None = None,
    ) -> np.ndarray:
        """Read the frames (T, H, W, 3) uint8 RGB of the clip around ``timestamp`` (s, as in the annotations).

        ``shifts`` (T,) in s moves the frames one by one; such a clip is not kept, as its like hardly comes again.
        """
        source = open_source(video)
        center = timestamp - source.start
        key = (source, round(center, 4), short_side)
        if shifts is None and key in self._cache:
            self._cache.move_to_end(key)
            return self._cache[key]
        times = clip_times(center, self.num_frames, self.sampling_rate, self.fps)
        times = np.full_like(times, center) if self.still else times + (0 if shifts is None else shifts)
        if self.grid[1]:
            times = on_grid(source, times, *self.grid)
        if self.decoded_dir and source.kind == "file":
            return read_decoded(source.place, times, self.decoded_dir, short_side)
        frames = read_frames(source, times, short_side=short_side)
        if shifts is None and frames.nbytes <= self.cache_bytes:
            self._cache[key] = frames
            self._used += frames.nbytes
            while self._used > self.cache_bytes:
                self._used -= self._cache.popitem(last=False)[1].nbytes
        return frames
