"""The description of a video, resolved once when a dataset is loaded or an input is given, then passed on."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, replace
from functools import lru_cache

import av
import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.video.decode.container import MAX_PIXELS, open_video
from mestad_d2.video.decode.joined import following_recording
from mestad_d2.video.decode.timestamps import SteadyStamps
from mestad_d2.video.folder import FOLDER_FPS, FrameFolder, read_picture
from mestad_d2.video.frame_list import ListedVideo, open_folder
from mestad_d2.video.reader import VideoReader

logger = logging.getLogger(__name__)

# Endless videos are cut after a day.
MAX_SECONDS = 24 * 3600.0
_CAMERA = re.compile(r"camera:(\d+)")


@dataclass(frozen=True)
class VideoSource:
    """The description of a video that training, inference and export read from.

    Attributes:
        kind: ``file``, ``folder`` (of pictures), ``list`` (pictures of a frame list) or ``camera``.
        place: path of the file or folder, video of the frame list, or ``camera:N``.
        height: of the frames as shown, in pixels; 0 for a camera.
        width: of the frames as shown, in pixels; 0 for a camera.
        fps: frames per second on average.
        duration: in s; None where the container does not tell.
        start: timestamp of the first frame in the dataset's annotations, in s.
        has_audio: whether there is sound beside the picture.
        stream: number of the picture stream in the file, from 0; None: the best one.
        joined: whether time stamps restart within the file, as in recordings joined by ``cat``.
        max_pixels: a larger picture anywhere in the video is refused.
        max_seconds: the video is cut here, whatever its container says.
        window: first second that is read and the one behind the last, by the video's own time stamps.
    """

    kind: str
    place: str | ListedVideo
    height: int
    width: int
    fps: float
    duration: float | None = None
    start: float = 0.0
    has_audio: bool = False
    stream: int | None = None
    joined: bool = False
    max_pixels: int = MAX_PIXELS
    max_seconds: float = MAX_SECONDS
    window: tuple[float, float] = (0.0, float("inf"))

    def __str__(self) -> str:
        return str(self.place)

    def __fspath__(self) -> str:
        return str(self.place)

    @property
    def name(self) -> str:
        """The file's or folder's own name, for messages."""
        return os.path.basename(str(self.place))

    @property
    def pictures(self) -> FrameFolder | None:
        """The pictures of a folder or of a frame list, listed once in each process; None for other kinds."""
        return open_folder(self.place) if self.kind in ("folder", "list") else None

    @property
    def end(self) -> float:
        """Timestamp behind the last frame; infinite where the duration is unknown."""
        return self.start + self.duration if self.duration else float("inf")

    def starting_at(self, start: float) -> VideoSource:
        """Return the same video, its first frame at timestamp ``start``."""
        return replace(self, start=start)

    def between(self, begin: float, end: float) -> VideoSource:
        """Return the same video, read from second ``begin`` to before ``end`` alone; time stamps stay as they are.

        Raises:
            UserError: the video ends before ``begin``.
        """
        seconds = self.seconds() if begin > 0 else None
        if seconds is not None and begin >= seconds:
            raise UserError(
                f"{self}: nothing from {begin:g} s on, it ends at {seconds:.2f} s; give an earlier --start"
            )
        return replace(self, window=(begin, end))

    def window_seconds(self) -> float | None:
        """Return the length in s of what is read; None where it is not known."""
        seconds, (begin, end) = self.seconds(), self.window
        return None if seconds is None else min(seconds, end) - begin

    def seconds(self) -> float | None:
        """Return the length in s, from the packets where the container does not store it (recordings).

        Returns:
            None for cameras, and where the packets carry no times either.
        """
        if self.duration is not None or self.kind != "file":
            return self.duration
        times = self._packet_times()
        return None if times is None else float(times[-1]) + 1.0 / self.fps

    def frame_times(self) -> np.ndarray | None:
        """Return the ascending times (F,) of all frames in s since the first one, without decoding.

        Returns:
            None where only decoding tells: for cameras, and files without times of their own.

        Raises:
            UserError: the file can't be read.
        """
        if self.pictures is not None:
            return self.pictures.places / self.fps
        return self._packet_times() if self.kind == "file" else None

    def _packet_times(self) -> np.ndarray | None:
        container, stream = open_video(self.place, self.stream)
        with container:
            if container.format.name == "avi":
                return None
            packets = SteadyStamps(stream, self.fps)(container.demux(stream))
            try:
                # Read to the end: PyAV leaks memory of a generator that is left open.
                stamps = [p.pts for p in packets if p.size and not p.is_discard]
            except av.FFmpegError as error:
                raise UserError(f"{self}: no video that can be read ({error}); encode it anew") from error
            if not stamps or None in stamps:
                return None
            unit = stream.time_base
        stamps = sorted(set(stamps))
        return np.array([float((stamp - stamps[0]) * unit) for stamp in stamps])


def camera_number(path: object) -> int | None:
    """Return the number N of ``camera:N``; None for every other path."""
    match = _CAMERA.fullmatch(str(path))
    return int(match.group(1)) if match else None


def is_pictures(place: str | ListedVideo) -> bool:
    """Return whether a video is pictures, in a folder or of a frame list, instead of a file."""
    return isinstance(place, ListedVideo) or os.path.isdir(place)


def open_source(
    place: VideoSource | ListedVideo | str | os.PathLike[str],
    *,
    folder_fps: float = FOLDER_FPS,
    stream: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> VideoSource:
    """Find out what a video is: its size, frame rate and length.

    Args:
        place: video file, folder of frames (in the order of their numbers), video of a frame list, or
            ``camera:N``. A ``VideoSource`` is given back as it is.
        folder_fps: frames per second of folders, frame lists and cameras; files know their own.
        stream: which picture stream of a file, from 0; None: the best one that is no cover picture.
        max_pixels: a larger picture anywhere in a file is refused.

    Raises:
        UserError: nothing there that can be decoded.
    """
    if isinstance(place, VideoSource):
        return place
    if isinstance(place, ListedVideo):
        return _pictures("list", place, folder_fps)
    path = os.fspath(place)
    if camera_number(path) is not None:
        return VideoSource("camera", path, 0, 0, folder_fps)
    try:
        stat = os.stat(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: no such video file or folder of frames") from error
    if os.path.isdir(path):
        return _pictures("folder", path, folder_fps)
    return _file(path, stream, max_pixels, (stat.st_mtime_ns, stat.st_size))


def _pictures(kind: str, place: str | ListedVideo, fps: float) -> VideoSource:
    folder = open_folder(place)
    height, width = read_picture(folder.path(0)).shape[:2]
    return VideoSource(kind, place, height, width, float(fps), (int(folder.places[-1]) + 1) / fps)


@lru_cache(maxsize=65536)
def _file(path: str, stream: int | None, max_pixels: int, changed: tuple[int, int]) -> VideoSource:
    """``changed``: time and size of the file, so that one written anew is looked at anew."""
    reader = VideoReader(path, stream, max_pixels)
    kind = reader.container.format.name
    reader.close()
    # All frames of joined AVI files are read.
    if kind != "avi" and (byte := following_recording(path, kind)) is not None:
        logger.warning(
            "%s: another recording follows at byte %d and is not read, as this format has one alone; cut the file "
            "there, or join the originals with ffmpeg's concat demuxer",
            path, byte,
        )  # fmt: skip
    return VideoSource(
        "file",
        path,
        *reader.size,
        fps=reader.fps,
        duration=reader.duration or None,
        has_audio=reader.has_audio,
        stream=stream,
        joined=reader.joined,
        max_pixels=max_pixels,
    )
