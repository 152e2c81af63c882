"""Gather the rows of a key frame into people: one box with all its actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mestad_d2.formats.ava_csv import AnnotationRow

Box = tuple[float, float, float, float]
# Boxes of one person id whose edges differ by less are copies of one box, rounded differently.
SAME_BOX = 0.005


@dataclass
class Person:
    """A person on a key frame: ``box`` in [0, 1], ``person_id`` (-1: unknown), ``action_ids``."""

    box: Box
    person_id: int
    action_ids: set[int] = field(default_factory=set)


def people_of(rows: Sequence[AnnotationRow]) -> list[Person]:
    """Group the rows of one key frame into people, in the order of their first rows.

    Rows with the same box are one person whatever their person ids, as in mmaction2 and PySlowFast, which ignore
    the ids. Rows of one person id (0 or more) whose boxes nearly coincide are one person too; the first
    row's box is taken.
    """
    people: list[Person] = []
    by_box: dict[Box, Person] = {}
    by_id: dict[int, list[Person]] = {}
    for row in rows:
        if row.box is None:
            continue
        person = by_box.get(row.box)
        if person is None and row.person_id >= 0:
            person = next((p for p in by_id.get(row.person_id, ()) if nearly_same(p.box, row.box)), None)
        if person is None:
            person = Person(row.box, row.person_id)
            people.append(person)
        elif person.person_id < 0:
            person.person_id = row.person_id
        by_box[row.box] = person
        if row.person_id >= 0 and person not in (known := by_id.setdefault(row.person_id, [])):
            known.append(person)
        person.action_ids.add(row.action_id)
    return people


def nearly_same(a: Box, b: Box) -> bool:
    """Return whether two boxes differ by rounding only."""
    return all(abs(x - y) < SAME_BOX for x, y in zip(a, b, strict=True))
