"""Checks one video, or folder of frames, against its key frames."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import numpy as np

from mestad_d2.data.ava import SLACK
from mestad_d2.data.video_sources import DatasetVideos
from mestad_d2.errors import UserError
from mestad_d2.video.folder import FrameFolder, read_picture
from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import VideoSource, open_source
from mestad_d2.video.video_locations import find_video

# Frame rate below which motion can't be recognised.
MIN_FPS = 9.5

# Kind, what was found, and the timestamps it concerns.
VideoFault = tuple[str, str, Sequence[float]]


def check_video(videos: DatasetVideos, video_id: str, times: Sequence[float]) -> Iterator[VideoFault]:
    """Find the faults of a video whose key frames have the timestamps ``times`` (ascending, s)."""
    root = videos.root
    try:
        place = find_video(root, video_id)
    except UserError as error:
        yield "video_id", str(error).removeprefix(f"{root}: "), times
        return
    if place is None:
        named = find_video(root, os.path.splitext(video_id)[0]) if "." in video_id else None
        hint = "; the annotations should name it without the suffix" if named else ""
        yield "missing_video", f"no file or folder of this name in {root}{hint}", times
        return
    kind = "setting"
    try:
        rate = videos.rate_of(place, video_id)
        kind = "unreadable_video"
        source = open_source(place, folder_fps=rate)
        kind = "setting"
        source = source.starting_at(videos.start_of(source, video_id))
    except UserError as error:
        prefix = f"{place}: " if kind == "unreadable_video" else ""
        yield kind, str(error).removeprefix(prefix), times
        return
    if source.pictures is not None:
        yield from _check_folder(source.pictures)
    if source.fps < MIN_FPS:
        yield "frame_rate", f"{source.fps:.4g} frames a second", times
    yield from _check_times(source, times)


def _check_times(source: VideoSource, times: Sequence[float]) -> Iterator[VideoFault]:
    start, end = source.start, source.end
    outside = [time for time in times if not start <= time <= end + SLACK]
    if outside:
        yield (
            "outside_video",
            f"{len(outside)} of {len(times)} key frames, {outside[0]:g} the first, are outside the "
            f"{start:g} to {end:g} s of {source.name}",
            outside,
        )
    inside = [time for time in times if start <= time <= end + SLACK]
    bad = _unreadable(source, inside)
    if bad:
        yield "damaged_end", f"{len(bad)} of {len(times)} key frames from {bad[0]:g} s on can't be read", bad


def _unreadable(source: VideoSource, times: list[float]) -> list[float]:
    """Key frames after the last readable one: files break off, so halving the rest finds where."""
    low, high = 0, len(times)
    if not times or _readable(source, times[-1]):
        return []
    while low < high:
        middle = (low + high) // 2
        if _readable(source, times[middle]):
            low = middle + 1
        else:
            high = middle
    return times[low:]


def _readable(source: VideoSource, time: float) -> bool:
    try:
        read_frames(source, [time - source.start])
    except UserError:
        return False
    return True


def _check_folder(folder: FrameFolder) -> Iterator[VideoFault]:
    # The pictures of a folder exist; those of a frame list may not.
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
