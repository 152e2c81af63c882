"""How sure a row is: the probability that its box is on the person (IoU 0.5) and its action right.

A logistic model of a few signs. Its weights start from ``DEFAULT`` and are fitted to the annotators' own key
frames: each is left out in turn, labelled from its neighbours as if nobody had seen it, and compared.
"""

from __future__ import annotations

import numpy as np

from mestad_d2.densify.label import ActorLabels
from mestad_d2.densify.moments import log_odds

# What the columns of ``signs`` say, in words for people.
SIGNS = (
    "constant", "start or end of the action is near", "only one key frame has this person", "the teacher sees nobody here",
    "detector score", "teacher's box off the line between the key frames", "teacher's score of the action",
    "cost of the assignment", "distance from the key frames", "the person moves",
)  # fmt: skip
DEFAULT = np.array([2.5, -3.5, -1.0, -1.0, 0.8, -1.0, 0.35, -0.5, -0.6, -0.5])
# How firmly the fit holds on to DEFAULT: as much as this many rows would.
PRIOR_ROWS = 20.0


def signs(labels: ActorLabels, frame: int, action: int, weight: float) -> np.ndarray:
    """Signs (K,) of one row, in the order of ``SIGNS``.

    Args:
        frame: index into the stretch's frames; weight: its place between the key frames, in [0, 1].
    """
    track, seen = labels.track, bool(labels.track.seen[frame])
    chance = labels.actions[action][frame] * labels.there[frame]
    one_sided = labels.actor.left is None or labels.actor.right is None
    odds = log_odds(track.actions[frame])[action - 1] if seen and action <= track.actions.shape[1] else 0.0
    return np.array([
        1.0,
        2 * (1 - max(chance, 0.5)),
        float(one_sided),
        float(not seen),
        track.scores[frame] if seen else 0.0,
        1 - _iou(track.boxes[frame], labels.interpolated[frame]) if seen else 0.0,
        np.clip(odds, -4, 4),
        track.costs[frame] if seen else 0.0,
        2 * min(weight, 1 - weight),
        1 - _iou(np.array(labels.actor.left.box), np.array(labels.actor.right.box)) if not one_sided else 0.0,
    ])  # fmt: skip


def confidence(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Confidences (R,) in (0, 1) of signs (R, K)."""
    return 1 / (1 + np.exp(-np.clip(rows @ weights, -30, 30)))


def fit(rows: np.ndarray, right: np.ndarray, prior: np.ndarray = DEFAULT) -> np.ndarray:
    """Weights (K,) that make ``right`` (R,) of ``rows`` (R, K) likely, near ``prior`` where rows are few.

    Newton's method on the logistic likelihood with a normal prior.
    """
    weights = prior.copy()
    if not len(rows):
        return weights
    scale = PRIOR_ROWS * np.maximum((rows**2).mean(axis=0), 0.05) / 4
    for _ in range(50):
        chance = confidence(rows, weights)
        slope = rows.T @ (right - chance) - scale * (weights - prior)
        curve = (rows * (chance * (1 - chance))[:, None]).T @ rows + np.diag(scale)
        step = np.linalg.solve(curve, slope)
        weights = weights + np.clip(step, -1, 1)
        if np.abs(step).max() < 1e-6:
            break
    return weights


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    inner = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inner / max((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inner, 1e-12))


def reasons(row: np.ndarray, weights: np.ndarray, mean: np.ndarray) -> list[str]:
    """What lowers a row's confidence below the average row's, strongest first, in words."""
    effect = weights * (row - mean)
    return [SIGNS[k] for k in np.argsort(effect) if effect[k] < -0.3 and k][:3]
