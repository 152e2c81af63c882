"""Who is who between two key frames: pair their people, and assign the teacher's people to them frame by frame.

Boxes are x1, y1, x2, y2 as fractions of the frame; times are seconds. ``densify`` and training
(``SEMISUP.PSEUDO_LABELER``) share this model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from mestad_d2.boxes import pairwise_giou
from mestad_d2.people import People, Person
from mestad_d2.semisup.assigner import TemporalLabelAssigner

# Least GIoU to match people without ids, or a box to a person.
MIN_GIOU = 0.0


@dataclass(frozen=True)
class KeyFrame:
    """An annotated frame: ``time`` in s and its people, possibly none."""

    time: float
    people: tuple[Person, ...]


@dataclass(frozen=True)
class Actor:
    """A person of a stretch: on the left key frame, the right one, or both."""

    left: Person | None
    right: Person | None

    @property
    def person_id(self) -> int:
        """The annotators' id, -1 where there is none."""
        return next((p.person_id for p in (self.left, self.right) if p is not None and p.person_id >= 0), -1)

    def box_at(self, weight: float) -> np.ndarray:
        """Return the box (4,) at a share ``weight`` of the way from left to right: interpolated, or the only one."""
        if self.left is None or self.right is None:
            return np.array((self.left or self.right).box)
        return (1 - weight) * np.array(self.left.box) + weight * np.array(self.right.box)


@dataclass(frozen=True)
class StretchDetections:
    """The teacher's detections at some times of a stretch of the training set.

    Attributes:
        left, right: key frames, boxes in [0, 1] of the whole frame, people in the order of the annotations.
        times: (F,) ascending, in s of the csv; may begin and end with the key frames' own.
    """

    video_id: str
    left: KeyFrame
    right: KeyFrame
    times: np.ndarray
    detections: Sequence[People]


@dataclass(frozen=True)
class Track:
    """The teacher's detections of an actor on F frames.

    Attributes:
        seen: (F,) bool, whether one of its people was assigned; the rest is only defined there.
        boxes: (F, 4) in [0, 1]; scores: (F,) of the person; actions: (F, A) in [0, 1].
        costs: (F,) of the assignment; sides: (F,) source of the labels, 0 left, 1 right, 2 both alike.
        rows: (F,) which of the teacher's people it was, -1 where not seen.
    """

    seen: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    actions: np.ndarray
    costs: np.ndarray
    sides: np.ndarray
    rows: np.ndarray | None = None


def pair_people(left: KeyFrame, right: KeyFrame) -> list[Actor]:
    """Pair the people of two key frames by person id, and those without one by overlap."""
    free_left, free_right, actors = list(left.people), list(right.people), []
    for person in left.people:
        same = [other for other in free_right if other.person_id == person.person_id >= 0]
        # An id that occurs twice on a key frame is not used.
        if len(same) == 1 and sum(p.person_id == person.person_id for p in left.people) == 1:
            actors.append(Actor(person, same[0]))
            free_left.remove(person)
            free_right.remove(same[0])
    known = {person.person_id for person in free_left} & {person.person_id for person in free_right}
    a = [p for p in free_left if p.person_id < 0 or p.person_id in known]
    b = [p for p in free_right if p.person_id < 0 or p.person_id in known]
    if a and b:
        gain = pairwise_giou(np.array([p.box for p in a]), np.array([p.box for p in b]))
        for row, column in zip(
            *linear_sum_assignment(np.maximum(gain, MIN_GIOU), maximize=True), strict=True
        ):
            if gain[row, column] > MIN_GIOU:
                actors.append(Actor(a[row], b[column]))
                free_left.remove(a[row])
                free_right.remove(b[column])
    return actors + [Actor(p, None) for p in free_left] + [Actor(None, p) for p in free_right]


def assign(
    actors: Sequence[Actor],
    weights: Sequence[float],
    detections: Sequence[People],
    assigner: TemporalLabelAssigner,
) -> list[Track]:
    """Assign one track to each actor, by the assignment of training on every frame.

    As in training, each person of both key frames can be chosen once; but boxes are interpolated to the frame's
    time, or a passer-by would take the labels of a person who stays. Where both key frames have the same labels
    for an actor, they are one choice.

    Args:
        weights: (F,) places of the frames between the key frames, in [0, 1].
        detections: (F,) the teacher's people there.
    """
    frames, columns = len(weights), detections[0].actions.shape[1] if len(detections) else 0
    tracks = [_empty(frames, columns) for _ in actors]
    choices = [choice for number, actor in enumerate(actors) for choice in _choices(number, actor)]
    if not choices:
        return tracks
    labels = torch.zeros(len(choices), columns, dtype=torch.float64)
    for row, (_, _, actions) in enumerate(choices):
        for action in actions:
            if action <= columns:
                labels[row, action - 1] = 1
    for frame, (weight, people) in enumerate(zip(weights, detections, strict=True)):
        if not len(people):
            continue
        boxes = people.fractions()
        places = np.stack([actors[number].box_at(weight) for number, _, _ in choices])
        index, costs = assigner(
            torch.from_numpy(boxes), torch.from_numpy(people.actions).double(),
            torch.from_numpy(places), labels, (1, 1),
        )  # fmt: skip
        near = pairwise_giou(boxes, places) > MIN_GIOU
        for row in np.argsort(costs.numpy(), kind="stable"):
            choice = int(index[row])
            if choice < 0:
                continue
            number, side, _ = choices[choice]
            track = tracks[number]
            # Both choices of an actor may be assigned; the cheaper one is kept.
            if near[row, choice] and not track.seen[frame]:
                track.seen[frame], track.boxes[frame] = True, boxes[row]
                track.scores[frame], track.actions[frame] = people.scores[row], people.actions[row]
                track.costs[frame], track.sides[frame] = float(costs[row]), side
                track.rows[frame] = row
    return tracks


def _choices(number: int, actor: Actor) -> list[tuple[int, int, frozenset[int]]]:
    """(actor, side, actions) that a person between can be given."""
    if actor.left is not None and actor.right is not None:
        if actor.left.actions == actor.right.actions:
            return [(number, 2, actor.left.actions)]
        return [(number, 0, actor.left.actions), (number, 1, actor.right.actions)]
    return [(number, 0, actor.left.actions)] if actor.left else [(number, 1, actor.right.actions)]


def _empty(frames: int, columns: int) -> Track:
    return Track(
        np.zeros(frames, dtype=bool), np.zeros((frames, 4)), np.zeros(frames), np.zeros((frames, columns)),
        np.zeros(frames), np.full(frames, -1), np.full(frames, -1),
    )  # fmt: skip
