"""Probabilities of an actor's actions and presence at every frame between two key frames.

Used by ``densify``, which detects on every frame of a stretch, and by training, which detects on one or a few.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mestad_d2.semisup.actors import Actor
from mestad_d2.semisup.change_points import centred, log_odds, moment, start_posterior
from mestad_d2.semisup.tracks import Track

# Probability that an actor in view is assigned one of the teacher's people; the same for an actor out of view.
SEEN_IF_THERE, SEEN_IF_GONE = 0.95, 0.1


@dataclass(frozen=True)
class Change:
    """An action that starts or ends in a stretch: ``moment`` in s of the csv, ``starts`` or ends."""

    action_id: int
    starts: bool
    moment: float


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
        changes.append(Change(action, starts, moment(times, started, left, right)))
    return chances, sorted(changes, key=lambda change: change.moment)
