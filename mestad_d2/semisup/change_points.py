"""What an actor does between two key frames, and when it starts and ends: change points from the teacher's scores.

Used by ``densify``, which detects on every frame of a stretch, and by training, which detects on one or a few.

Between a key frame without and one with an action there is one moment at which it starts. With the scores
s(t) as evidence, the log odds of the moment being tau are the sum of log odds of s after tau minus those
before it. Neighbouring frames share most of their clip, so evidence is counted per second, not per frame:
each frame is weighted by the time it stands for, divided by ``CORRELATION``, and at most 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations
from math import prod

import numpy as np

from mestad_d2.semisup.actors import Actor, KeyFrame, Track

# Seconds whose scores count as one independent observation.
CORRELATION = 0.5
# Share of the middle between both ends in the threshold, and frames that give an end's level.
CENTRED, ENDS = 0.8, 5
# Log odds are clamped to this, so that one confident wrong frame does not decide alone.
MOST = 4.0
# Probability that an actor in view is assigned one of the teacher's people; the same for an actor out of view.
SEEN_IF_THERE, SEEN_IF_GONE = 0.95, 0.1
# Pairs expected this often by chance that never occur are exclusive.
EXPECTED = 5.0


@dataclass(frozen=True)
class Change:
    """An action that starts or ends in a stretch: ``time`` in s of the csv, ``starts`` or ends."""

    action_id: int
    starts: bool
    time: float


def exclusive_pairs(frames: Iterable[KeyFrame]) -> frozenset[frozenset[int]]:
    """Find pairs of actions that never occur together although chance predicts it (standing, walking)."""
    people = [person.actions for frame in frames for person in frame.people]
    alone = Counter(action for actions in people for action in actions)
    together = Counter(frozenset(pair) for actions in people for pair in combinations(actions, 2))
    pairs = (frozenset(pair) for pair in combinations(sorted(alone), 2))
    expected = {pair: prod(alone[action] for action in pair) / len(people) for pair in pairs}
    return frozenset(pair for pair, count in expected.items() if count >= EXPECTED and not together[pair])


def presence(actor: Actor, track: Track, times: np.ndarray, left: float, right: float) -> np.ndarray:
    """Estimate presence between two key frames: people on both stay, the teacher decides about the others."""
    if actor.left is not None and actor.right is not None:
        return np.ones(len(times))
    yes, no = SEEN_IF_THERE / SEEN_IF_GONE, (1 - SEEN_IF_THERE) / (1 - SEEN_IF_GONE)
    evidence = np.where(track.seen, np.log(yes), np.log(no))
    if actor.left is None:
        return start_posterior(times, evidence, left, right)
    return 1 - start_posterior(times, -evidence, left, right)


def action_chances(
    actor: Actor,
    track: Track,
    times: np.ndarray,
    left: float,
    right: float,
    exclusive: frozenset[frozenset[int]],
    middle: np.ndarray | None = None,
) -> tuple[dict[int, np.ndarray], list[Change]]:
    """Estimate probabilities of actions; those of one key frame only start or end in between.

    Args:
        times: (F,) of the track's frames; left, right: of the key frames, in s.
        exclusive: pairs of mutually exclusive actions.
        middle: (A,) log odds of a score that means neither on nor off; needed with a single frame, which has
            no levels at both ends.
    """
    if actor.left is None or actor.right is None:
        return {action: np.ones(len(times)) for action in (actor.left or actor.right).actions}, []
    before, after = actor.left.actions, actor.right.actions
    chances, changes = {action: np.ones(len(times)) for action in before & after}, []
    odds = log_odds(track.actions) - (0.0 if middle is None else middle)

    def of(action: int) -> np.ndarray:
        # Actions without a column of the model have no evidence.
        return odds[:, action - 1] if action <= odds.shape[1] else np.zeros(len(times))

    for action in sorted(before ^ after):
        starts = action in after
        # An action that ends when this one starts (standing, when walking starts) gives the same change point.
        partners = [
            o for o in (before - after if starts else after - before) if frozenset((action, o)) in exclusive
        ]
        level = of(action) - (of(partners[0]) if len(partners) == 1 else 0.0)
        evidence = centred(level if starts else -level, track.seen)
        started = start_posterior(times, evidence, left, right)
        chances[action] = started if starts else 1 - started
        changes.append(Change(action, starts, change_time(times, started, left, right)))
    return chances, sorted(changes, key=lambda change: change.time)


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


def change_time(times: np.ndarray, started: np.ndarray, left: float, right: float) -> float:
    """Compute the median moment (s) of ``start_posterior``, halfway in the gap in which it passes 1/2."""
    place = int(np.searchsorted(started, 0.5))
    known = np.concatenate([[left], times, [right]])
    return float((known[place] + known[place + 1]) / 2)
