"""Labels of one stretch between two key frames: boxes, actions and their probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mestad_d2.densify.boxes import BoxNoise, fuse
from mestad_d2.people import People
from mestad_d2.semisup.actors import Actor, KeyFrame, pair_people
from mestad_d2.semisup.assigner import TemporalLabelAssigner
from mestad_d2.semisup.between import Change, action_chances, presence
from mestad_d2.semisup.tracks import Track, assign


@dataclass(frozen=True)
class ActorLabels:
    """An actor on the F frames of a stretch.

    Attributes:
        person_id: as the annotators numbered it, else the one given here.
        there: (F,) probability of being in view; boxes: (F, 4) in [0, 1].
        actions: probability (F,) of every action that one of the key frames shows.
        track: the teacher's detections.
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
        """Return the action ids at a frame: the likely ones, falling back to the most likely action."""
        sure = [action for action, chance in self.actions.items() if chance[frame] >= 0.5]
        return sorted(sure) or [max(self.actions, key=lambda action: self.actions[action][frame])]


@dataclass(frozen=True)
class Stretch:
    """Two neighbouring key frames and the frames between: ``times`` (F,) in s of the csv, ``frames`` (F,)."""

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
    detections: Sequence[People],
    assigner: TemporalLabelAssigner,
    exclusive: frozenset[frozenset[int]] = frozenset(),
    noise: BoxNoise | None = None,
) -> list[ActorLabels]:
    """Label everybody between two key frames.

    Args:
        times: (F,) ascending, may begin and end with the key frames' own; their results are returned too.
        detections: (F,) the teacher's people.
        exclusive: pairs of mutually exclusive actions.
    """
    actors = pair_people(left, right)
    weights = np.clip((times - left.time) / (right.time - left.time), 0, 1)
    tracks = assign(actors, weights, detections, assigner)
    found = []
    for actor, track in zip(actors, tracks, strict=True):
        ends = [
            (k.time, np.array(p.box)) for k, p in ((left, actor.left), (right, actor.right)) if p is not None
        ]
        boxes = fuse(times, track.boxes, track.seen, ends, noise or BoxNoise())
        actions, changes = action_chances(actor, track, times, left.time, right.time, exclusive)
        found.append(
            ActorLabels(
                actor.person_id,
                actor,
                presence(actor, track, times, left.time, right.time),
                boxes,
                actions,
                track,
                np.stack([actor.box_at(w) for w in weights]) if len(weights) else boxes,
                changes,
            )  # fmt: skip
        )
    return found
