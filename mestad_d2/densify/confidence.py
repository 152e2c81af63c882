"""Confidence of a row: the probability that its box is on the person (IoU 0.5) and its action right.

It is the chance that the action goes on at that moment (``change_points``), times the probability that nothing else
is wrong. The latter is a logistic model of a few features. Its weights start from ``DEFAULT`` and are fitted to
the annotators' own key frames: each is left out in turn, labelled from its neighbours and
compared. Such a frame is further from its neighbours than any other, so the distance is a feature too.
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize

from mestad_d2.boxes import box_iou
from mestad_d2.densify.stretch import ActorLabels
from mestad_d2.semisup.change_points import log_odds

# What the columns of ``features`` say, in words for people.
FEATURES = (
    "constant", "the action starts or ends near here", "only one key frame has this person", "the teacher sees nobody here",
    "the detector is unsure of the person", "the teacher's box is off the line between the key frames",
    "the teacher hardly sees the action", "the labels fit what the teacher sees badly", "far from the key frames",
    "the person moves",
)  # fmt: skip
CHANCE, DISTANCE = 1, 8
# Weight -2 of the log distance: an unseen change needs two events (come and go, or leave the line and return).
# All left-out frames are equally far, so the fit can't estimate it.
DEFAULT = np.array([2.5, 1.0, -1.0, -1.0, 0.8, -1.0, 0.35, -0.5, -2.0, -0.5])
# Weight of the prior DEFAULT, in rows.
PRIOR_ROWS = 20.0
NEAREST = 0.02


def features(labels: ActorLabels, frame: int, action: int, distance: float) -> np.ndarray:
    """Return the features (K,) of one row, in the order of ``FEATURES``.

    Args:
        frame: index into the stretch's frames; distance: of the nearer key frame, in s.
    """
    track, seen = labels.track, bool(labels.track.seen[frame])
    chance = labels.actions[action][frame] * labels.there[frame]
    one_sided = labels.actor.left is None or labels.actor.right is None
    odds = log_odds(track.actions[frame])[action - 1] if seen and action <= track.actions.shape[1] else 0.0
    return np.array([
        1.0,
        np.log(max(chance, 0.01)),
        float(one_sided),
        float(not seen),
        track.scores[frame] if seen else 0.0,
        1 - box_iou(track.boxes[frame], labels.interpolated[frame]) if seen else 0.0,
        np.clip(odds, -4, 4),
        track.costs[frame] if seen else 0.0,
        np.log(max(distance, NEAREST)),
        1 - box_iou(np.array(labels.actor.left.box), np.array(labels.actor.right.box)) if not one_sided else 0.0,
    ])  # fmt: skip


def confidence(rows: np.ndarray | list[np.ndarray], weights: np.ndarray) -> np.ndarray:
    """Compute confidences (R,) in (0, 1) of features (R, K): the chance times the logistic part."""
    rows = np.reshape(rows, (-1, len(weights)))
    others = np.delete(rows, CHANCE, axis=1) @ np.delete(weights, CHANCE)
    return np.exp(rows[:, CHANCE]) / (1 + np.exp(-np.clip(others, -30, 30)))


def fit(rows: np.ndarray, right: np.ndarray, prior: np.ndarray = DEFAULT) -> np.ndarray:
    """Fit weights (K,) that make ``right`` (R,) of ``rows`` (R, K) likely, near ``prior`` where rows are few.

    The weight of the chance is fixed at 1.
    """
    if not len(rows):
        return prior.copy()
    scale = PRIOR_ROWS * np.maximum((rows**2).mean(axis=0), 0.05) / 4
    free = np.arange(len(prior)) != CHANCE

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        weights = prior.copy()
        weights[free] = values
        sure = confidence(rows, weights).clip(1e-9, 1 - 1e-9)
        logistic = sure / np.exp(rows[:, CHANCE])
        slope = (right / sure - (1 - right) / (1 - sure)) * sure * (1 - logistic)
        likelihood = right * np.log(sure) + (1 - right) * np.log(1 - sure)
        away = weights - prior
        return (
            -likelihood.sum() + 0.5 * (scale * away**2).sum(),
            (-(rows.T @ slope) + scale * away)[free],
        )

    weights = prior.copy()
    weights[free] = minimize(loss, prior[free], jac=True, method="L-BFGS-B").x
    return weights


def reasons(row: np.ndarray, weights: np.ndarray, mean: np.ndarray) -> list[str]:
    """Name in words what lowers a row's confidence below the average row's, strongest first."""
    effect = weights * (row - mean)
    # The chance multiplies the whole and has more effect than its logarithm.
    effect[CHANCE] *= 4
    return [FEATURES[k] for k in np.argsort(effect) if effect[k] < -0.3 and k][:3]
