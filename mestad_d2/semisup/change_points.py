"""Estimate the change point of an action from its scores along an actor's track.

Between a key frame without and one with the action there is one moment at which it starts. With the scores
s(t) as evidence, the log odds of the moment being tau are the sum of log odds of s after tau minus those
before it. Neighbouring frames share most of their clip, so evidence is counted per second, not per frame:
each frame is weighted by the time it stands for, divided by ``CORRELATION``, and at most 1.
"""

from __future__ import annotations

import numpy as np

# Seconds whose scores count as one independent observation.
CORRELATION = 0.5
# Share of the middle between both ends in the threshold, and frames that give an end's level.
CENTRED, ENDS = 0.8, 5
# Log odds are clamped to this, so that one confident wrong frame does not decide alone.
MOST = 4.0


def log_odds(scores: np.ndarray) -> np.ndarray:
    """Compute log s / (1 - s), finite for scores of exactly 0 and 1."""
    scores = np.clip(scores, 1e-4, 1 - 1e-4)
    return np.log(scores) - np.log(1 - scores)


def centred(scores: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Log odds (F,) of an action that is known to be off at one end and on at the other.

    Scores are not calibrated across actions and persons, so the threshold is mostly (``CENTRED``) the middle
    between both ends and partly 1/2.

    Args:
        scores: (F,) log odds; seen: (F,) whether there are any; 0 is returned where not.
    """
    known = scores[seen]
    if len(known) < 2:
        return np.where(seen, scores, 0.0)
    few = max(min(ENDS, len(known) // 3), 1)
    middle = (np.median(known[:few]) + np.median(known[-few:])) / 2
    return np.where(seen, scores - CENTRED * middle, 0.0)


def start_posterior(times: np.ndarray, evidence: np.ndarray, left: float, right: float) -> np.ndarray:
    """Compute the probability (F,) that an action starting between ``left`` and ``right`` has started by each time.

    Args:
        times: (F,) ascending, in s; evidence: (F,) log odds that the action is going on; 0 where nothing
            was seen.
    """
    if not len(times):
        return np.zeros(0)
    # Each frame stands for the time nearest to it; a moment lies between two frames or beyond the outer ones.
    edges = np.concatenate([[left], (times[1:] + times[:-1]) / 2, [right]])
    # One frame is at most one independent observation, however long it stands for.
    shares = np.minimum(np.diff(edges) / CORRELATION, 1.0)
    before = np.concatenate([[0.0], np.cumsum(-np.clip(evidence, -MOST, MOST) * shares)])
    gaps = np.diff(np.concatenate([[left], times, [right]]))
    logs = before + np.log(np.maximum(gaps, 1e-9))
    chance = np.exp(logs - logs.max())
    chance /= chance.sum()
    # chance[k]: starts before frame k and after frame k - 1.
    return np.cumsum(chance)[:-1]


def moment(times: np.ndarray, started: np.ndarray, left: float, right: float) -> float:
    """Compute the median moment (s) of ``start_posterior``, halfway in the gap in which it passes 1/2."""
    place = int(np.searchsorted(started, 0.5))
    known = np.concatenate([[left], times, [right]])
    return float((known[place] + known[place + 1]) / 2)
