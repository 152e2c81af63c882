"""Labels of the stretches between key frames: boxes, actions and their probabilities, and person ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mestad_d2.densify.boxes import BoxNoise, fuse
from mestad_d2.densify.detections.video import DetectedStretch
from mestad_d2.people import Person
from mestad_d2.semisup.actors import Actor, StretchDetections, Track, assign, pair_people
from mestad_d2.semisup.assigner import TemporalLabelAssigner
from mestad_d2.semisup.change_points import Change, action_chances, presence


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
    """What was detected between two neighbouring key frames, and the labels made of it."""

    detected: DetectedStretch
    actors: list[ActorLabels]

    def given(self) -> list[tuple[int, int, int]]:
        """Return (frame, actor, action) of every new label; frames count within the stretch, and are in order."""
        return [
            (frame, number, action)
            for frame in np.flatnonzero(self.detected.between).tolist()
            for number, labels in enumerate(self.actors) if labels.there[frame] >= 0.5
            for action in labels.chosen(frame)
        ]  # fmt: skip


def label_stretch(
    detected: StretchDetections,
    assigner: TemporalLabelAssigner,
    exclusive: frozenset[frozenset[int]] = frozenset(),
    noise: BoxNoise | None = None,
) -> list[ActorLabels]:
    """Label everybody between two key frames: who, where, and from when to when doing what.

    Args:
        detected: the teacher's people on F frames; labels of the key frames' own frames are returned too.
        exclusive: pairs of mutually exclusive actions.
        noise: of the teacher's boxes.
    """
    left, right, times = detected.left, detected.right, detected.times
    actors = pair_people(left, right)
    weights = np.clip((times - left.time) / (right.time - left.time), 0, 1)
    tracks = assign(actors, weights, detected.detections, assigner)
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


def number_people(stretches: Sequence[list[ActorLabels]]) -> list[list[ActorLabels]]:
    """Give each actor a person id: the annotators', else a new one above all of those.

    Args:
        stretches: of one video, in order of time.
    """
    used = [labels.person_id for actors in stretches for labels in actors]
    free = max(used, default=-1) + 1
    known: dict[int, int] = {}
    result = []
    for actors in stretches:
        numbered = []
        for labels in actors:
            number = labels.person_id
            if number < 0:
                number = known.get(_key(labels.actor.left), -1)
            if number < 0:
                number, free = free, free + 1
            if labels.actor.right is not None:
                known[_key(labels.actor.right)] = number
            numbered.append(replace(labels, person_id=number))
        result.append(numbered)
    return result


def _key(person: Person | None) -> int:
    # The right key frame of a stretch is the very object that is the left one of the next.
    return id(person) if person is not None else -1
