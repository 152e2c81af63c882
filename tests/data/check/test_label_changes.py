"""How fast labels change, counted by hand and on simulated actors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mestad_d2.data.check.label_changes import LabelChanges, label_changes
from mestad_d2.formats.ava_csv import AnnotationRow

BOX = (0.1, 0.1, 0.3, 0.8)


def rows(actions: list[int], person: int = 0, box: tuple = BOX, step: float = 1.0) -> list[AnnotationRow]:
    """Somebody who does one action on each of a video's key frames."""
    return [AnnotationRow(f"v{person}", n * step, box, action, person) for n, action in enumerate(actions)]


def test_people_are_followed_from_key_frame_to_key_frame() -> None:
    found = label_changes(rows([1] * 12) + rows([1, 2] * 6, person=1))
    assert (found.gap, found.people, found.unchanged) == (1.0, 22, pytest.approx(0.5))
    # Without ids by overlap; who is somewhere else is somebody else.
    far = (0.6, 0.1, 0.8, 0.8)
    plain = [replace(row, person_id=-1) for row in rows([1] * 30)]
    moved = [replace(row, box=far if n % 2 else BOX) for n, row in enumerate(plain)]
    assert label_changes(plain).people == 29 and label_changes(moved) is None
    # A gap in the labels is nobody's step.
    assert label_changes(rows([1] * 30) + [AnnotationRow("v0", 50.0, BOX, 2, 0)]).unchanged == 1
    assert label_changes(rows([1] * 5)) is None and label_changes([]) is None


def test_the_advice_follows_the_share_that_holds_halfway() -> None:
    steady, mixed, fast = (LabelChanges(1.0, 50, unchanged) for unchanged in (0.95, 0.5, 0.2))
    assert "97% of label sets hold halfway" in str(steady) and "no labels" in str(steady)
    assert "can help" in str(mixed) and "label more often" in str(fast)


@pytest.mark.parametrize("rate", [0.2, 0.7, 1.5])
def test_half_a_gap_is_the_square_root_where_changes_come_at_any_time(rate: float) -> None:
    rng = np.random.default_rng(1)
    sparse, same = [], []
    for person in range(60):
        # Changes come at random; an action has a new number after each.
        changes = np.sort(rng.uniform(0, 40, rng.poisson(rate * 40)))
        sparse += rows([1 + int((changes < t).sum()) for t in range(40)], person)
        same += [((changes >= t) & (changes < t + 0.5)).sum() == 0 for t in range(40)]
    found = label_changes(sparse)
    assert found.unchanged == pytest.approx(np.exp(-rate), abs=0.04)
    assert found.unchanged_after_half == pytest.approx(np.mean(same), abs=0.04)
