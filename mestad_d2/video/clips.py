"""Clips: the times of their frames, the frame nearest to a time, and packing frames into a tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch

# Frames whose distances differ only by float rounding count as equally near; the earlier one wins.
TIE = 1e-6


def clip_offsets(num_frames: int, sampling_rate: float, fps: float) -> np.ndarray:
    """Return the times (T,) of a clip's frames in s from its key frame, which is at index T // 2."""
    return (np.arange(num_frames) - num_frames // 2) * sampling_rate / fps


def clip_times(center: float, num_frames: int, sampling_rate: float, fps: float) -> np.ndarray:
    """Return the times (T,) of a clip's frames in s; index T // 2 is ``center``."""
    return center + clip_offsets(num_frames, sampling_rate, fps)


def time_shifts(num_frames: int, sampling_rate: int, fps: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a shift (T,) in s for each frame of a clip: whole frames of ``fps``, within half a ``sampling_rate``.

    At ``sampling_rate`` 2 it is -1 or 0 frames, as in the release; the key frame is moved too.
    """
    low, high = -sampling_rate // 2, (sampling_rate + 1) // 2
    return rng.integers(low, high, num_frames) / fps


def later_is_nearer(before: float, after: float, time: float) -> bool:
    """Return whether frame ``after`` is nearer to ``time`` than frame ``before``; a tie goes to ``before``."""
    return after - time < time - before - TIE


def nearest_indices(stamps: np.ndarray, times: Sequence[float]) -> np.ndarray:
    """Index of the value of ``stamps`` (ascending) nearest to each time; the earlier one of two as near."""
    times = np.asarray(times, dtype=np.float64)
    after = np.searchsorted(stamps, times).clip(1, max(len(stamps) - 1, 1))
    before = after - 1
    after = after.clip(max=len(stamps) - 1)
    return np.where(later_is_nearer(stamps[before], stamps[after], times), after, before)


def without_pauses(times: Iterable[float], stamps: np.ndarray, limit: float) -> Iterator[float]:
    """Return the ``times`` that have a frame within ``limit`` s, and all after the last frame.

    Args:
        times: ascending, in s; may be endless.
        stamps: (F,) ascending times of all frames of a video, in s.
        limit: in s.
    """
    for time in times:
        if time > stamps[-1] or abs(stamps[nearest_indices(stamps, [time])[0]] - time) <= limit + TIE:
            yield time


def clip_tensor(frames: np.ndarray | Sequence[np.ndarray]) -> torch.Tensor:
    """Pack T frames (H, W, 3) uint8 into the model's input (3, T, H, W) uint8."""
    return torch.from_numpy(np.ascontiguousarray(np.asarray(frames).transpose(3, 0, 1, 2)))
