"""Fuse the teacher's boxes and the annotators' boxes between two key frames.

An actor's box is taken as a random walk that passes through the annotators' boxes, and the teacher's box as
that box plus an offset that changes slowly (its boxes may be too wide, say) plus noise of each frame. Then
the best estimate is the posterior mean of a Gaussian process. Without any box of the teacher it is exactly
linear interpolation, since that is the mean of a random walk between two known points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Deviation of an actor's coordinate from the straight line in a second, in box sides: mostly small.
WALKS = (0.003, 0.02, 0.06, 0.15, 0.35)
# Prior weights of them.
COMMON = (0.5, 0.25, 0.15, 0.08, 0.02)
# Frames share most of their clips, so their boxes' errors are correlated: weight of a frame.
TEMPER = 0.1


@dataclass(frozen=True)
class BoxNoise:
    """How the teacher's boxes differ from the annotators': standard deviations in mean box sides.

    Attributes:
        constant: of the part that is constant while an actor is seen (boxes too narrow, say).
        slow: of the part that changes slowly, forgotten within ``memory`` seconds.
        noise: of the part that is new on every frame.
        trusted: whether they are used at all.
    """

    constant: float = 0.1
    slow: float = 0.2
    memory: float = 0.35
    noise: float = 0.05
    trusted: bool = True


def fuse(
    times: np.ndarray,
    boxes: np.ndarray,
    seen: np.ndarray,
    ends: list[tuple[float, np.ndarray]],
    noise: BoxNoise,
) -> np.ndarray:
    """Fuse teacher and interpolated boxes to boxes (F, 4) at ``times``.

    How much an actor strays is not known beforehand; every value of ``WALKS`` counts as much as it makes
    the teacher's boxes likely (Bayesian model averaging). Times at the key frames themselves may be among
    ``times``: what the teacher sees there tells its offset.

    Args:
        times: (F,) in s; boxes: (F, 4) of the teacher, where ``seen`` (F,).
        ends: (time, box) of the annotators, one or two of them, in order of time.
    """
    end_times = np.array([time for time, _ in ends])
    end_boxes = np.stack([box for _, box in ends])
    prior, where = _line(times, end_times, end_boxes), np.flatnonzero(seen)
    if not (noise.trusted and len(where)):
        return prior
    side = np.maximum(_side(end_boxes), 1e-6)
    rest = (boxes[where] - prior[where]) / side
    bridge = _bridge(times, times[where], end_times)
    lag = np.abs(times[where][:, None] - times[where][None])
    slow = noise.slow**2 * np.exp(-lag / noise.memory)
    seeing = noise.constant**2 + slow + noise.noise**2 * np.eye(len(where))
    means, logs = [], []
    for walk in WALKS:
        factor = np.linalg.cholesky(walk**2 * bridge[where] + seeing)
        white = np.linalg.solve(factor, rest)
        logs.append(-0.5 * (white**2).sum(axis=0) - np.log(np.diag(factor)).sum())
        means.append(walk**2 * bridge @ np.linalg.solve(factor.T, white))
    logs = TEMPER * np.stack(logs) + np.log(COMMON)[:, None]
    share = np.exp(logs - np.max(logs, axis=0))
    share /= share.sum(axis=0)
    fused = np.clip(prior + (np.stack(means) * share[:, None]).sum(axis=0) * side, 0.0, 1.0)
    # A box must not be inverted.
    good = ((fused[:, 2:] - fused[:, :2]) > 1e-3).all(axis=1)
    return np.where(good[:, None], fused, prior)


def _line(times: np.ndarray, end_times: np.ndarray, end_boxes: np.ndarray) -> np.ndarray:
    """Linear interpolation; before the first and after the last end, that one's box."""
    return np.stack([np.interp(times, end_times, end_boxes[:, k]) for k in range(4)], axis=1)


def _bridge(a: np.ndarray, b: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Covariance (len(a), len(b)) of a random walk of unit speed that is known at ``ends`` (one or two)."""
    a, b = a[:, None], b[None]
    if len(ends) == 1:
        x, y = a - ends[0], b - ends[0]
        return np.where(x * y > 0, np.minimum(np.abs(x), np.abs(y)), 0.0)
    low, high = np.minimum(a, b) - ends[0], ends[1] - np.maximum(a, b)
    return np.clip(low, 0, None) * np.clip(high, 0, None) / (ends[1] - ends[0])


def _side(boxes: np.ndarray) -> np.ndarray:
    """Mean width and height of boxes, as (4,): width, height, width, height."""
    return np.tile((boxes[:, 2:] - boxes[:, :2]).mean(axis=0), 2)
