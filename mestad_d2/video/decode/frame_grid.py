"""Repeat which frames AVA's own recipe takes, without extracting any.

AVA's films are cut with ``ffmpeg -ss 900 -t 901`` and written as pictures with ``ffmpeg -r 30``; other projects count
seconds in these pictures. FFmpeg cuts by the time of the file, which begins with whatever of picture and sound begins
first, and fills a grid of 1/30 s by the rules of its ``-fps_mode cfr``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mestad_d2.video.decode.container import open_video
from mestad_d2.video.source import VideoSource

# Thresholds of FFmpeg's cfr mode (fftools/ffmpeg_filter.c), in frames of the grid.
DROP, REPEAT, PREVIOUS = -1.1, 1.1, 0.6
# Stamps this close to multiples of the frame's length, in s, are those multiples.
ROUNDED = 2e-3


def cfr_frames(stamps: np.ndarray, rate: float) -> np.ndarray:
    """Return the index of the frame that ``ffmpeg -r rate`` writes as picture 0, 1, 2 ...

    Args:
        stamps: (F,) ascending times of the frames in s; the first picture is the first frame.
        rate: pictures a second.
    """
    places = (stamps - stamps[0]) * rate
    lasting = np.diff(places)
    lasting = np.append(lasting, lasting[-1] if len(lasting) else 1.0)
    written: list[int] = []
    for index, (place, length) in enumerate(zip(places.tolist(), lasting.tolist(), strict=True)):
        late = place - len(written)
        over = late + length
        if late < 0 < over:
            late = 0.0
        count, before = 1, 0
        if over < DROP:
            count = 0
        elif over > REPEAT:
            count = round(over)
            before = round(late - PREVIOUS) if late > REPEAT else 0
        written += [max(index - 1, 0)] * before + [index] * (count - before)
    return np.array(written)


@lru_cache(maxsize=256)
def grid_times(source: VideoSource, begin: float, rate: float) -> np.ndarray | None:
    """Return the times (N,) of the recipe's pictures in s since the video's first frame.

    Args:
        source: a video file.
        begin: ``-ss`` of the cut in s of the file; 0: the file is not cut.
        rate: ``-r`` of the pictures.

    Returns:
        None for folders of pictures, and for files without times or that end before ``begin``.
    """
    stamps = source.frame_times() if source.kind == "file" else None
    if stamps is None:
        return None
    first = int(np.searchsorted(stamps + picture_delay(source), begin)) if begin > 0 else 0
    if first >= len(stamps):
        return None
    kept = stamps[first:]
    # The cut counts in frames, where the film's own stamps may be rounded to ms (Matroska).
    counted = np.rint((kept - kept[0]) * source.fps) / source.fps
    even = np.abs(counted - (kept - kept[0])).max() < ROUNDED
    return kept[cfr_frames(counted if even else kept, rate)]


def picture_delay(source: VideoSource) -> float:
    """Return by how many seconds the first picture comes after the file's beginning, which the sound may have made."""
    container, stream = open_video(source.place, source.stream)
    with container:
        first = next(container.decode(stream), None)
        if first is None or first.time is None or container.start_time is None:
            return 0.0
        return max(first.time - container.start_time / 1e6, 0.0)


def on_grid(source: VideoSource, times: np.ndarray, cut: float, rate: float) -> np.ndarray:
    """Return the times of the frames that the recipe shows at ``times``, both in s since the video's first frame.

    Args:
        source: of the frames; other kinds than files keep their times, as do times before the cut.
        times: (T,).
        cut: timestamp in the dataset's annotations at which the recipe cuts; a file that begins later was cut already.
        rate: of the recipe's pictures.
    """
    begin = max(cut - source.start, 0.0)
    table = grid_times(source, begin, rate)
    if table is None:
        return times
    places = np.rint((times - begin) * rate).astype(int)
    return np.where(places < 0, times, table[places.clip(0, len(table) - 1)])
