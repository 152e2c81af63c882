"""Times of a video's frames, and the choice of frames to label."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from mestad_d2.densify.key_frames import KeyFrame


def dense_indices(times: np.ndarray, left: float, right: float, rate: float | None) -> list[int]:
    """Return the frames strictly between two key frames that get labels.

    Args:
        times: (F,) of all frames, in s.
        left: time of a key frame, in the same seconds; right: of the next one.
        rate: labels a second, counted from ``left``; None: every frame.
    """
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    # The key frames' own frames are the nearest ones.
    low, high = bisect_right(times, left + step / 2), bisect_left(times, right - step / 2)
    inside = list(range(low, high))
    if rate is None or not inside:
        return inside
    count = round((right - left) * rate)
    wanted = [left + number / rate for number in range(1, count + 1) if left + number / rate < right]
    nearest = (min(inside, key=lambda index: abs(times[index] - want)) for want in wanted)
    return [i for i in dict.fromkeys(nearest) if left + step / 2 < times[i] < right - step / 2]


def nearest_index(times: np.ndarray, time: float) -> int:
    """Return the index of the frame that is shown nearest to ``time``."""
    place = bisect_left(times, time)
    near = range(max(place - 1, 0), min(place + 1, len(times)))
    return min(near, key=lambda index: abs(times[index] - time))


def wanted_indices(
    times: np.ndarray,
    frames: Sequence[KeyFrame],
    pairs: Sequence[tuple[KeyFrame, KeyFrame]],
    start: float,
    rate: float | None,
) -> list[int]:
    """Return the frames on which the teacher runs: those that get labels, and the key frames."""
    wanted = {nearest_index(times, frame.time - start) for frame in frames}
    for left, right in pairs:
        wanted.update(dense_indices(times, left.time - start, right.time - start, rate))
    return sorted(wanted)
