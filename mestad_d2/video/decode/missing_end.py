"""Tells a video whose end is missing, as of half-downloaded ones, from a whole one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import av

from mestad_d2.errors import UserError
from mestad_d2.video.decode.container import open_media
from mestad_d2.video.source import VideoSource
from mestad_d2.video.stream import StreamFrame

# An end that is missing is longer than this, in s, and than this share: clocks of containers are coarse.
LEAST_MISSING, LEAST_SHARE = 1.0, 0.02


class LastSeen:
    """Frames of a video, handed on one by one.

    Attributes:
        time: of the last frame that was handed on, in s since the first; below 0 before it.
    """

    def __init__(self, frames: Iterable[StreamFrame]) -> None:
        self.frames, self.time = frames, -1.0

    def __iter__(self) -> Iterator[StreamFrame]:
        for frame in self.frames:
            self.time = frame.time
            yield frame


def missing_end(source: VideoSource, reached: float) -> float:
    """Return the seconds missing at the end compared with the header; 0.0 for a complete file.

    Args:
        source: description of the video.
        reached: time of the last frame that could be read, in s since the first.
    """
    if source.kind != "file" or source.duration is None or reached + 1.0 / source.fps >= source.window[1]:
        return 0.0
    least = max(LEAST_MISSING, LEAST_SHARE * source.duration)
    if source.duration - reached - 1.0 / source.fps <= least:
        return 0.0
    # A picture may end before the sound does, which is no fault: no packet of any stream reaches the end.
    last = max(_last_packet(source), reached)
    return source.duration - last if source.duration - last > least else 0.0


def refuse_missing_end(source: VideoSource, name: str, reached: float, kept: str = "") -> None:
    """Raise an error if the end of a file is missing.

    Args:
        source: description of the video.
        name: what the user calls it.
        reached: see ``missing_end``.
        kept: what became of the rest, said in the error.

    Raises:
        UserError: the end is missing.
    """
    if missing := missing_end(source, reached):
        rest = f"{kept}; " if kept else ""
        raise UserError(
            f"{name}: the last {missing:.1f} of {source.duration:.1f} s are missing from the file; {rest}"
            "download or copy it again"
        )


def _last_packet(source: VideoSource) -> float:
    last = 0.0
    with open_media(source) as container:
        try:
            for packet in container.demux():
                if packet.pts is not None:
                    start = (packet.stream.start_time or 0) * packet.time_base
                    last = max(last, float((packet.pts + (packet.duration or 0)) * packet.time_base - start))
        except av.FFmpegError:
            pass
    return last
