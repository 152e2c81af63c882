"""Times of a video's frames, and the choice of frames to label."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from mestad_d2.densify.key_frames import KeyFrame
from mestad_d2.video.clips import nearest_indices


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
    nearest = (low + nearest_indices(times[low:high], wanted)).tolist()
    return [i for i in dict.fromkeys(nearest) if left + step / 2 < times[i] < right - step / 2]


def wanted_indices(
    times: np.ndarray,
    frames: Sequence[KeyFrame],
    pairs: Sequence[tuple[KeyFrame, KeyFrame]],
    start: float,
    rate: float | None,
) -> list[int]:
    """Return the frames on which the teacher runs: those that get labels, and the key frames."""
    wanted = set(nearest_indices(times, [frame.time - start for frame in frames]).tolist())
    for left, right in pairs:
        wanted.update(dense_indices(times, left.time - start, right.time - start, rate))
    return sorted(wanted)
