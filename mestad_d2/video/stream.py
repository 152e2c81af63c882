"""Sequential reading: every frame of a video, of a folder of frames or of a camera, once and in order.

Time 0 is the first frame, in seconds of the presentation time stamps, so that variable frame rates
need no special case.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import av
import cv2
import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.video.pictures import PictureMaker, shrink

logger = logging.getLogger(__name__)

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
_CAMERA = re.compile(r"camera:(\d+)")


class StreamFrame:
    """One frame as shown: ``time`` in s since the first frame, ``image`` (H, W, 3) uint8 RGB."""

    def __init__(self, time: float, image: np.ndarray) -> None:
        self.time, self.image = time, image
        self.size = image.shape[:2]

    def small(self, short_side: int) -> np.ndarray:
        """(h, w, 3) uint8 RGB with the shorter side at most ``short_side`` pixels, as clips are read."""
        return shrink(self.image, short_side)


class DecodedFrame(StreamFrame):
    """A frame of a video that becomes a picture only where one is asked for.

    Args:
        time: s since the first frame.
        size: height and width in pixels, as shown.
        make: the picture, its shorter side at most so many pixels, or as it is with None.
    """

    def __init__(self, time: float, size: tuple[int, int], make: Callable[[int | None], np.ndarray]) -> None:
        self.time, self.size, self._make = time, size, make

    @cached_property
    def image(self) -> np.ndarray:
        """The picture in full size."""
        return self._make(None)

    def small(self, short_side: int) -> np.ndarray:
        """As of ``StreamFrame``, shrunk while its colours are converted."""
        return self._make(short_side)


@dataclass(frozen=True)
class StreamInfo:
    """What the container says: ``fps`` on average, ``duration`` in s (None: unknown), ``has_audio``."""

    fps: float
    duration: float | None
    has_audio: bool = False


def camera_number(path: str | os.PathLike[str]) -> int | None:
    """Number of the camera that ``camera:N`` names; None for every other path."""
    match = _CAMERA.fullmatch(str(path))
    return int(match.group(1)) if match else None


def probe(path: str | os.PathLike[str], *, folder_fps: float = 30.0) -> StreamInfo:
    """Frame rate and length without decoding.

    Raises:
        UserError: no such file, no video, or a folder without frames.
    """
    if camera_number(path) is not None:
        return StreamInfo(fps=folder_fps, duration=None)
    if Path(path).is_dir():
        return StreamInfo(fps=folder_fps, duration=len(list_frames(path)) / folder_fps)
    with open_video(path) as container:
        stream = container.streams.video[0]
        fps = float(stream.average_rate or stream.guessed_rate or 30)
        seconds = None
        if stream.duration is not None and stream.time_base is not None:
            seconds = float(stream.duration * stream.time_base)
        elif container.duration is not None:
            seconds = container.duration / av.time_base
        return StreamInfo(fps=fps, duration=seconds, has_audio=bool(container.streams.audio))


def iterate_frames(path: str | os.PathLike[str], *, folder_fps: float = 30.0) -> Iterator[StreamFrame]:
    """All frames in the order they are shown, each decoded once; rotation of the file is applied.

    Args:
        path: video file, folder of frames (in the order of their numbers, ``folder_fps`` apart), or
            ``camera:N``.
        folder_fps: frames per second of a folder.

    Raises:
        UserError: nothing there that can be decoded. Damage further on ends the video with a warning.
    """
    number = camera_number(path)
    if number is not None:
        yield from _camera_frames(number)
    elif Path(path).is_dir():
        yield from _folder_frames(path, folder_fps)
    else:
        yield from _video_frames(path)


def list_frames(folder: str | os.PathLike[str]) -> list[Path]:
    """Pictures of a folder in the order of the last number in their names.

    Raises:
        UserError: there is no picture.
    """
    paths = [p for p in Path(folder).iterdir() if p.suffix.lower() in FRAME_SUFFIXES]
    if not paths:
        raise UserError(f"{folder}: no frames ({', '.join(FRAME_SUFFIXES)}) in this folder")
    return sorted(paths, key=lambda path: (frame_number(path), path.name))


def frame_number(path: Path) -> int:
    """The last number in a picture's name; 0 without one."""
    return int((re.findall(r"\d+", path.stem) or ["0"])[-1])


def open_video(path: str | os.PathLike[str]) -> av.container.InputContainer:
    """Open a video file.

    Raises:
        UserError: no such file, no media file, or one without a picture stream.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: no such video file or folder of frames")
    try:
        container = av.open(str(path), metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: no video that can be read ({_reason(error)})") from error
    if not container.streams.video:
        container.close()
        raise UserError(f"{path}: no picture in this file; give a video")
    if container.streams.video[0].codec_context is None:
        container.close()
        raise UserError(f"{path}: coded in a way that this FFmpeg can't read; encode it as h264")
    return container


def _video_frames(path: str | os.PathLike[str]) -> Iterator[StreamFrame]:
    with open_video(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        step = 1.0 / float(stream.average_rate or stream.guessed_rate or 30)
        first, last = None, None
        make_picture = PictureMaker()
        frames = container.decode(stream)
        while True:
            try:
                frame = next(frames, None)
            except av.FFmpegError as error:
                if last is None:
                    raise UserError(f"{path}: no video that can be read ({_reason(error)})") from error
                logger.warning(
                    "%s: damaged after %.2f s (%s); the rest is left out", path, last, _reason(error)
                )
                return
            if frame is None:
                break
            first = frame.time if first is None else first
            # Files without time stamps (raw streams) count frames instead.
            now = frame.time - first if frame.time is not None else (0.0 if last is None else last + step)
            if last is not None and now <= last:
                continue
            last = now
            yield DecodedFrame(now, make_picture.shown_size(frame), partial(make_picture, frame))
        if last is None:
            raise UserError(f"{path}: no frame in this video")


def _folder_frames(folder: str | os.PathLike[str], fps: float) -> Iterator[StreamFrame]:
    for index, path in enumerate(list_frames(folder)):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise UserError(f"{path}: no picture that can be read; remove it or render it anew")
        yield StreamFrame(index / fps, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def _camera_frames(number: int) -> Iterator[StreamFrame]:
    camera = cv2.VideoCapture(number)
    try:
        start = None
        while True:
            ok, image = camera.read()
            now = time.monotonic()
            if not ok:
                break
            start = now if start is None else start
            yield StreamFrame(now - start, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        if start is None:
            raise UserError(f"camera:{number}: no picture from this camera; try another number")
    finally:
        camera.release()


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).strip().splitlines()[0]
