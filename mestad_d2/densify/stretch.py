"""Labels of one stretch between two key frames: boxes, actions and how sure each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mestad_d2.densify.assign import Actor, Track, assign, pair_people
from mestad_d2.densify.boxes import BoxNoise, fuse
from mestad_d2.densify.change_points import centred, log_odds, moment, start_posterior
from mestad_d2.densify.detections.teacher import Sighting
from mestad_d2.densify.key_frames import KeyFrame
from mestad_d2.semisup.assigner import TemporalLabelAssigner

# An actor in view is assigned one of the teacher's people so often; one who is not, by mistake so often.
SEEN_IF_THERE, SEEN_IF_GONE = 0.95, 0.1


@dataclass(frozen=True)
class Change:
    """An action that starts or ends in a stretch: ``moment`` in s of the csv, ``starts`` or ends."""

    action_id: int
    starts: bool
    moment: float


@dataclass(frozen=True)
class ActorLabels:
    """An actor on the F frames of a stretch.

    Attributes:
        person_id: as the annotators numbered it, else the one given here.
        there: (F,) probability of being in view; boxes: (F, 4) in [0, 1].
        actions: probability (F,) of every action that one of the key frames shows.
        track: what the teacher saw.
        interpolated: (F, 4) boxes without the teacher.
        changes: in order of time.
    """

    person_id: int
    actor: Actor
    there: np.ndarray
    boxes: np.ndarray
    actions: dict[int, np.ndarray]
    track: Track
    interpolated: np.ndarray
    changes: list[Change] = field(default_factory=list)

    def chosen(self, frame: int) -> list[int]:
        """Action ids at a frame: the likely ones; the likeliest if there is none, as nobody does nothing."""
        sure = [action for action, chance in self.actions.items() if chance[frame] >= 0.5]
        return sorted(sure) or [max(self.actions, key=lambda action: self.actions[action][frame])]


@dataclass(frozen=True)
class Stretch:
    """Two neighbouring key frames and what lies between: ``times`` (F,) in s of the csv, ``frames`` (F,)."""

    video_id: str
    left: KeyFrame
    right: KeyFrame
    frames: tuple[int, ...]
    times: np.ndarray
    actors: list[ActorLabels]


def label_stretch(
    left: KeyFrame,
    right: KeyFrame,
    times: np.ndarray,
    sightings: Sequence[Sighting],
    assigner: TemporalLabelAssigner,
    exclusive: frozenset[frozenset[int]] = frozenset(),
    noise: BoxNoise | None = None,
) -> list[ActorLabels]:
    """Everybody between two key frames.

    Args:
        times: (F,) ascending, may begin and end with the key frames' own; their results are returned too.
        sightings: (F,) the teacher's people.
        exclusive: pairs of actions that nobody does at once.
    """
    actors = pair_people(left, right)
    weights = np.clip((times - left.time) / (right.time - left.time), 0, 1)
    tracks = assign(actors, weights, sightings, assigner)
    found = []
    for actor, track in zip(actors, tracks, strict=True):
        ends = [
            (k.time, np.array(p.box)) for k, p in ((left, actor.left), (right, actor.right)) if p is not None
        ]
        boxes = fuse(times, track.boxes, track.seen, ends, noise or BoxNoise())
        actions, changes = _actions(actor, track, times, left.time, right.time, exclusive)
        found.append(
            ActorLabels(
                actor.person_id,
                actor,
                _there(actor, track, times, left.time, right.time),
                boxes,
                actions,
                track,
                np.stack([actor.box_at(w) for w in weights]) if len(weights) else boxes,
                changes,
            )  # fmt: skip
        )
    return found


def _there(actor: Actor, track: Track, times: np.ndarray, left: float, right: float) -> np.ndarray:
    """Who is on both key frames stays; who is on one comes or goes when the teacher says."""
    if actor.left is not None and actor.right is not None:
        return np.ones(len(times))
    yes, no = SEEN_IF_THERE / SEEN_IF_GONE, (1 - SEEN_IF_THERE) / (1 - SEEN_IF_GONE)
    evidence = np.where(track.seen, np.log(yes), np.log(no))
    if actor.left is None:
        return start_posterior(times, evidence, left, right)
    return 1 - start_posterior(times, -evidence, left, right)


def _actions(
    actor: Actor,
    track: Track,
    times: np.ndarray,
    left: float,
    right: float,
    exclusive: frozenset[frozenset[int]],
) -> tuple[dict[int, np.ndarray], list[Change]]:
    """Probabilities of actions; those of one key frame only start or end in between."""
    if actor.left is None or actor.right is None:
        return {action: np.ones(len(times)) for action in (actor.left or actor.right).actions}, []
    before, after = actor.left.actions, actor.right.actions
    chances, changes = {action: np.ones(len(times)) for action in before & after}, []
    odds = log_odds(track.actions)

    def of(action: int) -> np.ndarray:
        # Actions without a column of the model have no evidence.
        return odds[:, action - 1] if action <= odds.shape[1] else np.zeros(len(times))

    for action in sorted(before ^ after):
        starts = action in after
        # What ends when this starts (standing, when walking starts) tells the same moment.
        partners = [
            o for o in (before - after if starts else after - before) if frozenset((action, o)) in exclusive
        ]
        level = of(action) - (of(partners[0]) if len(partners) == 1 else 0.0)
        evidence = centred(level if starts else -level, track.seen)
        started = start_posterior(times, evidence, left, right)
        chances[action] = started if starts else 1 - started
        changes.append(Change(action, starts, moment(times, started, left, right)))
    return chances, sorted(changes, key=lambda change: change.moment)
