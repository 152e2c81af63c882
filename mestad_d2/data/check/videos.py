"""Checks one video, or folder of frames, against its key frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from mestad_d2.data.ava import SLACK, first_timestamp, folder_rate
from mestad_d2.data.per_video import Setting
from mestad_d2.errors import UserError
from mestad_d2.video.folder import FOLDER_FPS, is_folder, open_folder, read_picture
from mestad_d2.video.frames import VideoInfo, probe, read_frames
from mestad_d2.video.video_locations import find_video

# Frames a second below which motion can't be told.
MIN_FPS = 9.5

# Kind, what was found, and the timestamps it concerns.
VideoFault = tuple[str, str, Sequence[float]]


def check_video(
    root: str, video_id: str, times: Sequence[float], start: Setting, fps: Setting = FOLDER_FPS
) -> Iterator[VideoFault]:
    """Faults of a video whose key frames have the timestamps ``times`` (ascending, s).

    Args:
        root: folder of videos.
        start: timestamp of the file's first frame; None: AVA's rule; or a csv of them.
        fps: frames per second of a folder of frames, or a csv of them.
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
        rate = folder_rate(path, video_id, fps)
    except UserError as error:
        yield "setting", str(error), times
        return
    try:
        info = probe(path, rate)
    except UserError as error:
        yield "unreadable_video", str(error).removeprefix(f"{path}: "), times
        return
    try:
        first = first_timestamp(path, video_id, info, start)
    except UserError as error:
        yield "setting", str(error), times
        return
    if is_folder(path):
        yield from _check_folder(path)
    if info.fps < MIN_FPS:
        yield "frame_rate", f"{info.fps:.4g} frames a second", times
    yield from _check_times(path, info, times, first)


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
    bad = _unreadable(path, info, inside, start)
    if bad:
        yield "damaged_end", f"{len(bad)} of {len(times)} key frames from {bad[0]:g} s on can't be read", bad


def _unreadable(path: str, info: VideoInfo, times: list[float], start: float) -> list[float]:
    """Key frames after the last readable one: files break off, so halving the rest finds where."""
    low, high = 0, len(times)
    if not times or _readable(path, info, times[-1] - start):
        return []
    while low < high:
        middle = (low + high) // 2
        if _readable(path, info, times[middle] - start):
            low = middle + 1
        else:
            high = middle
    return times[low:]


def _readable(path: str, info: VideoInfo, time: float) -> bool:
    try:
        read_frames(path, [time], folder_fps=info.fps)
    except UserError:
        return False
    return True


def _check_folder(path: str) -> Iterator[VideoFault]:
    folder = open_folder(path)
    # Of a folder they were found there; a frame list only says so.
    absent = [p for p in map(folder.path, range(len(folder))) if not os.path.isfile(p)]
    if absent:
        yield "missing_frames", f"{len(absent)} pictures are not there, {absent[0]} the first", ()
    gaps = np.flatnonzero(np.diff(folder.places) != 1)
    if len(gaps):
        yield (
            "missing_frames",
            f"{len(gaps)} gaps in the numbering, the first after {os.path.basename(folder.path(gaps[0]))}",
            (),
        )
    chosen = (0, len(folder) // 2, len(folder) - 1)
    sizes = {
        read_picture(folder.path(index)).shape[:2] for index in chosen if folder.path(index) not in absent
    }
    if len(sizes) > 1:
        yield "unequal_frames", f"sizes {', '.join(f'{w} x {h}' for h, w in sorted(sizes))}", ()
