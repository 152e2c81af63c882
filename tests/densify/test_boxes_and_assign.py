"""Fused boxes, and who is who."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mestad_d2.densify.boxes import BoxNoise, fuse
from mestad_d2.people import People, Person
from mestad_d2.semisup.actors import KeyFrame, assign, pair_people
from mestad_d2.semisup.assigner import TemporalLabelAssigner

LEFT, RIGHT = np.array([0.1, 0.2, 0.3, 0.6]), np.array([0.3, 0.2, 0.5, 0.6])
TIMES = 1 + np.arange(0, 26) / 25


def line(times: np.ndarray = TIMES) -> np.ndarray:
    """The straight way from LEFT to RIGHT."""
    return LEFT + (times - 1)[:, None] * (RIGHT - LEFT)


def test_without_the_teacher_it_is_interpolation() -> None:
    nothing = np.zeros(26, dtype=bool)
    fused = fuse(TIMES, np.zeros((26, 4)), nothing, [(1.0, LEFT), (2.0, RIGHT)], BoxNoise())
    assert fused == pytest.approx(line())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.floats(0, 0.3))
def test_it_passes_through_the_annotators_boxes(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    boxes = np.clip(line() + rng.normal(0, spread, (26, 4)), 0, 1)
    fused = fuse(TIMES, boxes, rng.random(26) < 0.7, [(1.0, LEFT), (2.0, RIGHT)], BoxNoise())
    assert fused[0] == pytest.approx(LEFT, abs=1e-6) and fused[-1] == pytest.approx(RIGHT, abs=1e-6)
    assert (fused[:, 2:] > fused[:, :2]).all() and fused.min() >= 0 and fused.max() <= 1


def test_a_teacher_that_always_draws_wider_changes_little_and_a_detour_is_followed() -> None:
    every, noise = np.ones(26, dtype=bool), BoxNoise(slow=0.05)
    wider = line() + np.array([-0.02, 0, 0.02, 0])
    assert np.abs(fuse(TIMES, wider, every, [(1.0, LEFT), (2.0, RIGHT)], noise) - line()).max() < 0.01
    detour = line() + 0.15 * np.sin(np.pi * (TIMES - 1))[:, None]
    fused = fuse(TIMES, detour, every, [(1.0, LEFT), (2.0, RIGHT)], noise)
    assert np.abs(fused - detour).mean() < 0.6 * np.abs(line() - detour).mean()


def person(x: float, *actions: int, number: int = -1) -> Person:
    """Somebody 0.2 wide at ``x``."""
    return Person((x, 0.2, x + 0.2, 0.8), frozenset(actions), number)


def test_people_are_paired_by_id_and_else_by_overlap() -> None:
    left = KeyFrame(1.0, (person(0.1, 1, number=7), person(0.6, 2, number=8)))
    right = KeyFrame(2.0, (person(0.1, 2, number=8), person(0.6, 1, number=7)))
    assert [(a.left.person_id, a.right.person_id) for a in pair_people(left, right)] == [(7, 7), (8, 8)]
    left = KeyFrame(1.0, (person(0.1, 1), person(0.6, 2)))
    right = KeyFrame(2.0, (person(0.55, 3), person(0.15, 4), person(0.9, 5)))
    pairs = {(a.left.box[0] if a.left else None, a.right.box[0]) for a in pair_people(left, right)}
    assert pairs == {(0.1, 0.15), (0.6, 0.55), (None, 0.9)}


def test_an_id_that_stands_twice_names_nobody() -> None:
    left = KeyFrame(1.0, (person(0.1, 1, number=0), person(0.6, 2, number=0)))
    right = KeyFrame(2.0, (person(0.62, 2, number=0), person(0.12, 1, number=0)))
    assert [(a.left.box[0], a.right.box[0]) for a in pair_people(left, right)] == [(0.1, 0.12), (0.6, 0.62)]


def detected(*boxes: float, actions: list[list[float]]) -> People:
    """The teacher's people 0.2 wide at some x."""
    places = np.array([[x, 0.2, x + 0.2, 0.8] for x in boxes]).reshape(-1, 4)
    return People(
        0.0, places, np.full(len(boxes), 0.9), np.array(actions, dtype=float).reshape(len(boxes), 2)
    )


def test_who_walks_by_keeps_the_own_labels() -> None:
    left = KeyFrame(1.0, (person(0.0, 1, number=1), person(0.4, 2, number=2)))
    right = KeyFrame(2.0, (person(0.8, 1, number=1), person(0.4, 2, number=2)))
    actors = pair_people(left, right)
    seen = [detected(x, 0.4, actions=[[0.9, 0.1], [0.1, 0.9]]) for x in (0.2, 0.4, 0.6)]
    walker, stander = assign(actors, [0.25, 0.5, 0.75], seen, TemporalLabelAssigner())
    assert walker.seen.all() and walker.boxes[:, 0] == pytest.approx([0.2, 0.4, 0.6])
    assert stander.boxes[:, 0] == pytest.approx([0.4] * 3)


def test_far_away_people_and_empty_frames_are_nobody() -> None:
    frame = KeyFrame(1.0, (person(0.0, 1, number=1),))
    actors = pair_people(frame, KeyFrame(2.0, frame.people))
    seen = [detected(0.8, actions=[[0.9, 0.1]]), detected(actions=[])]
    (track,) = assign(actors, [0.3, 0.6], seen, TemporalLabelAssigner())
    assert not track.seen.any()
    assert assign([], [0.5], seen[:1], TemporalLabelAssigner()) == []
