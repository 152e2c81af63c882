"""Pair the people of two neighbouring key frames.

Boxes are x1, y1, x2, y2 as fractions of the frame; times are seconds. ``densify`` and training
(``SEMISUP.PSEUDO_LABELER``) share this model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from mestad_d2.boxes import pairwise_giou
from mestad_d2.people import Person

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
