"""Frames of a clip straight from a video file or a folder of frames, at any frame rate.

Times are seconds from the first frame. Only what a clip needs is decoded: from the codec's key frame
before its first frame to its last frame.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import av
import cv2
import numpy as np

from mestad_d2.data.video_stream import list_frames, open_video, upright
from mestad_d2.errors import UserError

# Open files a process keeps; each holds a decoder's buffers.
MAX_OPEN = 8
FOLDER_FPS = 30.0


@dataclass(frozen=True)
class VideoInfo:
    """``height`` and ``width`` in pixels as shown, ``fps`` on average, ``duration`` in s (0: unknown)."""

    height: int
    width: int
    fps: float
    duration: float


class _Reader:
    """An open video file that can seek; time 0 is its first frame."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.container = open_video(path)
        self.stream = self.container.streams.video[0]
        self.stream.thread_type = "AUTO"
        self.fps = float(self.stream.average_rate or self.stream.guessed_rate or 30)
        first = next(self._decode(), None)
        if first is None:
            raise UserError(f"{path}: no frame in this video; encode it anew or remove it")
        self.first = first.time or 0.0
        self.rotation = first.rotation
        height, width = first.height, first.width
        self.size = (width, height) if round(self.rotation / 90) % 2 else (height, width)

    def _decode(self):  # noqa: ANN202  (a generator of av.VideoFrame)
        try:
            yield from self.container.decode(self.stream)
        except av.FFmpegError as error:
            # A damaged tail ends the video; a damaged start is an error where no frame was found.
            if isinstance(error, av.error.EOFError):
                return
            self.damage = str(error)

    def _from(self, time: float):  # noqa: ANN202
        offset = int((self.first + time) / self.stream.time_base)
        self.container.seek(max(offset, 0), stream=self.stream, backward=True, any_frame=False)
        return self._decode()

    def read(self, times: Sequence[float]) -> list[av.VideoFrame]:
        """The frame nearest to each of ``times`` (ascending, s); the last one beyond the end."""
        frames = self._from(max(times[0] - 1.0 / self.fps, 0.0))
        before, now = None, next(frames, None)
        if now is None or (self._time(now) > times[0] and times[0] > 0):
            # The index of some files leads past the target; reading from the start is slow but right.
            frames = self._from(0.0)
            now = next(frames, None)
        chosen = []
        for time in times:
            while now is not None and self._time(now) < time:
                before, now = now, next(frames, None)
            if now is None and before is None:
                raise UserError(f"{self.path}: no frame at {time:.2f} s; encode the video anew or remove it")
            near = now is not None and (
                before is None or self._time(now) - time <= time - self._time(before)
            )
            chosen.append(now if near else before)
        return chosen

    def _time(self, frame: av.VideoFrame) -> float:
        return (frame.time or 0.0) - self.first

    def close(self) -> None:
        """Close the file."""
        self.container.close()


class _OpenFiles:
    """The readers of this process, least recently used first; forked workers start with none."""

    def __init__(self) -> None:
        self.readers: OrderedDict[str, _Reader] = OrderedDict()
        self.process = os.getpid()

    def get(self, path: str) -> _Reader:
        """The reader of ``path``, opened if need be."""
        if self.process != os.getpid():
            # File offsets are shared across a fork, so inherited readers must not be used.
            self.readers, self.process = OrderedDict(), os.getpid()
        if path not in self.readers:
            self.readers[path] = _Reader(path)
            while len(self.readers) > MAX_OPEN:
                self.readers.popitem(last=False)[1].close()
        self.readers.move_to_end(path)
        return self.readers[path]

    def drop(self, path: str) -> None:
        """Close a reader that failed, so that the next use opens the file anew."""
        if path in self.readers and self.process == os.getpid():
            self.readers.pop(path).close()


_OPEN = _OpenFiles()


@lru_cache(maxsize=4096)
def probe(path: str) -> VideoInfo:
    """Size, frame rate and length of a video file or a folder of frames.

    Raises:
        UserError: nothing there that can be decoded.
    """
    if os.path.isdir(path):
        frames = list_frames(path)
        height, width = _read_picture(str(frames[0])).shape[:2]
        return VideoInfo(height, width, FOLDER_FPS, len(frames) / FOLDER_FPS)
    reader = _Reader(path)
    try:
        stream, container = reader.stream, reader.container
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        else:
            duration = (container.duration or 0) / av.time_base
        return VideoInfo(*reader.size, reader.fps, duration)
    finally:
        reader.close()


def read_frames(path: str, times: Sequence[float], *, short_side: int | None = None) -> np.ndarray:
    """Frames nearest to ``times``, as (T, H, W, 3) uint8 RGB; times outside the video are clamped.

    Args:
        path: video file or folder of frames (``FOLDER_FPS`` apart).
        times: seconds from the first frame, in any order.
        short_side: shrink frames whose shorter side is longer than this, in pixels.

    Raises:
        UserError: the file can't be read at one of these times; names both.
    """
    wanted = sorted({max(float(time), 0.0) for time in times})
    if os.path.isdir(path):
        images = _folder_images(path, wanted)
    else:
        try:
            reader = _OPEN.get(path)
            frames = reader.read(wanted)
            images = _to_images(frames, reader.rotation)
        except (av.FFmpegError, OSError) as error:
            _OPEN.drop(path)
            raise UserError(f"{path}: can't be read at {wanted[0]:.2f} s ({error}); encode it anew") from error
        except UserError:
            _OPEN.drop(path)
            raise
    images = [shrink(image, short_side) for image in images]
    by_time = dict(zip(wanted, images, strict=True))
    return np.stack([by_time[max(float(time), 0.0)] for time in times])


def shrink(image: np.ndarray, short_side: int | None) -> np.ndarray:
    """Resize a picture whose shorter side is longer than ``short_side`` pixels; never enlarge."""
    height, width = image.shape[:2]
    if short_side is None or min(height, width) <= short_side:
        return image
    scale = short_side / min(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _to_images(frames: list[av.VideoFrame], rotation: float) -> list[np.ndarray]:
    images: dict[int, np.ndarray] = {}
    for frame in frames:
        if id(frame) not in images:
            images[id(frame)] = upright(frame.to_ndarray(format="rgb24"), rotation)
    return [images[id(frame)] for frame in frames]


def _folder_images(folder: str, times: Sequence[float]) -> list[np.ndarray]:
    paths = _frame_paths(folder)
    return [_read_picture(str(paths[min(round(time * FOLDER_FPS), len(paths) - 1)])) for time in times]


@lru_cache(maxsize=64)
def _frame_paths(folder: str) -> list:
    return list_frames(folder)


def _read_picture(path: str) -> np.ndarray:
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{path}: no picture that can be read; remove it or extract it anew")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
