"""Read every frame of a video, a folder of frames or a camera once and in order.

Time 0 is the first frame, in seconds of the presentation time stamps, so that variable frame rates
need no special case.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import cached_property, partial

import av
import cv2
import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.video.clips import TIE
from mestad_d2.video.decode.container import open_video, reason
from mestad_d2.video.decode.timestamps import SteadyStamps, counts_frames
from mestad_d2.video.folder import FOLDER_FPS, read_picture
from mestad_d2.video.pictures import PictureMaker, pixel_aspect, shrink
from mestad_d2.video.source import VideoSource, camera_number, open_source

logger = logging.getLogger(__name__)

# Windows that begin earlier, in s, are reached by decoding.
SOUGHT_FROM = 10.0


class StreamFrame:
    """One frame as shown: ``time`` in s since the first frame, ``image`` (H, W, 3) uint8 RGB."""

    def __init__(self, time: float, image: np.ndarray) -> None:
        self.time, self.image = time, image
        self.size = image.shape[:2]

    def small(self, short_side: int | None) -> np.ndarray:
        """Return (h, w, 3) uint8 RGB with the shorter side at most ``short_side`` pixels (None: whole)."""
        return shrink(self.image, short_side)


class DecodedFrame(StreamFrame):
    """A decoded frame that is converted to a picture only on request.

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

    def small(self, short_side: int | None) -> np.ndarray:
        """Return the picture as ``StreamFrame.small`` does, shrunk while its colours are converted."""
        return self._make(short_side)


def iterate_frames(
    video: VideoSource | str | os.PathLike[str], *, folder_fps: float = FOLDER_FPS
) -> Iterator[StreamFrame]:
    """Yield all frames in the order they are shown, each decoded once; the file's rotation is applied.

    Of a video with a ``window`` only the frames in it are given, with the time stamps that they have in the video.

    Args:
        video: description, or any input of ``open_source``.
        folder_fps: frames per second of a folder, where ``video`` is no description.

    Raises:
        UserError: nothing there that can be decoded. Damage further on ends the video with a warning.
    """
    source = open_source(video, folder_fps=folder_fps)
    begin, end = source.window
    if source.kind == "camera":
        frames = _camera_frames(camera_number(source))
    else:
        frames = _video_frames(source) if source.kind == "file" else _folder_frames(source)
    with closing(frames):
        for frame in frames:
            if frame.time >= end - TIE:
                return
            if frame.time >= begin - TIE:
                yield frame


def _video_frames(source: VideoSource) -> Iterator[StreamFrame]:
    container, stream = open_video(source.place, source.stream)
    with container:
        stream.thread_type = "AUTO"
        step = 1.0 / source.fps
        make_picture = PictureMaker(source.place, pixel_aspect(stream), source.max_pixels)
        counted = counts_frames(container, stream)
        steady = SteadyStamps(stream, source.fps)
        first, last = None, None
        if not counted and (sought := _place_before(source)) is not None:
            first, place = sought
            container.seek(place, stream=stream)
        for frame in _decoded(source, stream, steady):
            first = frame.time if first is None else first
            # Files without time stamps (raw streams) count frames instead.
            if counted or frame.time is None:
                now = 0.0 if last is None else last + step
            else:
                now = frame.time - first
            if last is not None and now <= last:
                continue
            if now > source.max_seconds:
                logger.warning("%s: only the first %g s are read", source, source.max_seconds)
                return
            last = now
            yield DecodedFrame(now, make_picture.shown_size(frame), partial(make_picture, frame))
        if last is None:
            raise UserError(f"{source}: no frame in this video")


def _place_before(source: VideoSource) -> tuple[float, int] | None:
    """The first frame's time in s, and the place in ticks from where decoding shows all frames of the window.

    None where the film is read from its beginning: the window is near, or the file can't be sought in.
    """
    begin = source.window[0]
    if begin < SOUGHT_FROM or source.joined:
        return None
    container, stream = open_video(source.place, source.stream)
    with container:
        try:
            first = next(container.decode(stream)).time
            if first is None:
                return None
            # A second more: frames next to an open group of pictures lack what they refer to.
            place = int((first + begin - 1.0) / stream.time_base)
            container.seek(place, stream=stream)
            landed = next(container.decode(stream)).time
        except (av.FFmpegError, StopIteration):
            return None
    return (first, place) if landed is not None and landed - first <= begin - 0.5 else None


def _decoded(source: VideoSource, stream: av.VideoStream, steady: SteadyStamps) -> Iterator[av.VideoFrame]:
    """Frames in the order they are shown; what can't be decoded is left out with one warning."""
    lost, any_frame = False, False

    def packets() -> Iterator[av.Packet]:
        try:
            yield from stream.container.demux(stream)
        except av.FFmpegError as error:
            logger.warning("%s: damaged (%s); the rest is left out", source, reason(error))

    for packet in steady(packets()):
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if not lost and any_frame:
                at = "" if packet.pts is None else f" near {float(packet.pts * packet.time_base):.2f} s"
                logger.warning("%s: damaged%s (%s); frames are missing there", source, at, reason(error))
            lost = lost or any_frame
            continue
        any_frame = any_frame or bool(frames)
        yield from frames
    if steady.repaired_at is not None:
        logger.warning(
            "%s: time stamps are wrong from %.2f s on; times after it are counted on",
            source,
            steady.repaired_at,
        )


def _folder_frames(source: VideoSource) -> Iterator[StreamFrame]:
    folder = source.pictures
    for index, place in enumerate(folder.places.tolist()):
        yield StreamFrame(place / source.fps, read_picture(folder.path(index)))


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
