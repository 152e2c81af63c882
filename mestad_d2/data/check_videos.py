"""Checks one video, or folder of frames, against its key frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from mestad_d2.data.ava import file_start, find_video
from mestad_d2.data.video import VideoInfo, picture_size, probe, read_frames
from mestad_d2.data.video_stream import frame_number, list_frames
from mestad_d2.errors import UserError

# Frames a second below which motion can't be told.
MIN_FPS = 12.0
# A key frame may lie this many seconds beyond the last frame: headers round.
SLACK = 0.1

# Kind, what was found, and the timestamps it concerns.
VideoFault = tuple[str, str, Sequence[float]]


def check_video(
    root: str, video_id: str, times: Sequence[float], start: float | None
) -> Iterator[VideoFault]:
    """Faults of a video whose key frames have the timestamps ``times`` (ascending, s).

    Args:
        root: folder of videos.
        start: timestamp of the file's first frame; None: AVA's rule.
    """
    try:
        path = find_video(root, video_id)
    except UserError as error:
        yield "video_id", str(error).removeprefix(f"{root}: "), times
        return
    if path is None:
        named = find_video(root, os.path.splitext(video_id)[0]) if "." in video_id else None
        hint = "; the annotations should name it without the suffix" if named else ""
        yield "missing_video", f"no file or folder of this name in {root}{hint}", times
        return
    try:
        info = probe(path)
    except UserError as error:
        yield "unreadable_video", str(error).removeprefix(f"{path}: "), times
        return
    if os.path.isdir(path):
        yield from _check_folder(path)
    elif info.fps < MIN_FPS:
        yield "frame_rate", f"{info.fps:.4g} frames a second", times
    yield from _check_times(path, info, times, file_start(info, start))


def _check_times(path: str, info: VideoInfo, times: Sequence[float], start: float) -> Iterator[VideoFault]:
    end = start + info.duration if info.duration else float("inf")
    outside = [time for time in times if not start <= time <= end + SLACK]
    if outside:
        yield (
            "outside_video",
            f"{len(outside)} of {len(times)} key frames, {outside[0]:g} the first, are outside the "
            f"{start:g} to {end:g} s of {os.path.basename(path)}",
            outside,
        )
    inside = [time for time in times if start <= time <= end + SLACK]
    bad = _unreadable(path, inside, start)
    if bad:
        yield "damaged_end", f"{len(bad)} of {len(times)} key frames from {bad[0]:g} s on can't be read", bad


def _unreadable(path: str, times: list[float], start: float) -> list[float]:
    """Key frames after the last readable one: files break off, so halving the rest finds where."""
    low, high = 0, len(times)
    if not times or _readable(path, times[-1] - start):
        return []
    while low < high:
        middle = (low + high) // 2
        if _readable(path, times[middle] - start):
            low = middle + 1
        else:
            high = middle
    return times[low:]


def _readable(path: str, time: float) -> bool:
    try:
        read_frames(path, [time])
    except UserError:
        return False
    return True


def _check_folder(path: str) -> Iterator[VideoFault]:
    frames = list_frames(path)
    numbers = np.array([frame_number(frame) for frame in frames])
    gaps = np.flatnonzero(np.diff(numbers) != 1)
    if len(gaps):
        yield (
            "missing_frames",
            f"{len(gaps)} gaps in the numbering, the first after {frames[gaps[0]].name}",
            (),
        )
    sizes = {picture_size(str(frames[index])) for index in (0, len(frames) // 2, -1)}
    if len(sizes) > 1:
        yield "unequal_frames", f"sizes {', '.join(f'{w} x {h}' for h, w in sorted(sizes))}", ()
