"""Gather the rows of a key frame into people: one box with all its actions."""

from __future__ import annotations

from collections.abc import Sequence

from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.people import Box, Person

# Boxes of one person id whose edges differ by less are copies of one box, rounded differently.
SAME_BOX = 0.005


def people_of(rows: Sequence[AnnotationRow]) -> list[Person]:
    """Group the rows of one key frame into people, in the order of their first rows.

    Rows with the same box are one person whatever their person ids, as in mmaction2 and PySlowFast, which ignore
    the ids. Rows of one person id (0 or more) whose boxes nearly coincide are one person too; the first
    row's box is taken.
    """
    # A list entry a person; both dicts hold indices of entries.
    boxes: list[Box] = []
    ids: list[int] = []
    actions: list[set[int]] = []
    by_box: dict[Box, int] = {}
    by_id: dict[int, list[int]] = {}
    for row in rows:
        if row.box is None:
            continue
        index = by_box.get(row.box)
        if index is None and row.person_id >= 0:
            index = next((i for i in by_id.get(row.person_id, ()) if nearly_same(boxes[i], row.box)), None)
        if index is None:
            index = len(boxes)
            boxes.append(row.box)
            ids.append(row.person_id)
            actions.append(set())
        elif ids[index] < 0:
            ids[index] = row.person_id
        by_box[row.box] = index
        if row.person_id >= 0 and index not in (known := by_id.setdefault(row.person_id, [])):
            known.append(index)
        actions[index].add(row.action_id)
    return [Person(box, frozenset(a), number) for box, a, number in zip(boxes, actions, ids, strict=True)]


def nearly_same(a: Box, b: Box) -> bool:
    """Return whether two boxes differ by rounding only."""
    return all(abs(x - y) < SAME_BOX for x, y in zip(a, b, strict=True))
