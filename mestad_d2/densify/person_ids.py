"""Give person ids to people without one, kept from stretch to stretch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mestad_d2.densify.stretch import ActorLabels
from mestad_d2.people import Person


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
