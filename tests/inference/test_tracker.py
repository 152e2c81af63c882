"""Tracks by hand: who keeps a number, who gets a new one."""

from __future__ import annotations

import numpy as np
import pytest

from mestad_d2.boxes import pairwise_giou
from mestad_d2.inference.tracker import ActorTracker


def boxes(*corners: tuple[float, float]) -> np.ndarray:
    """Boxes of 10 x 20 pixels at these corners."""
    return np.array([[x, y, x + 10, y + 20] for x, y in corners], dtype=np.float32).reshape(-1, 4)


def run(tracker: ActorTracker, time: float, *corners: tuple[float, float], score: float = 0.9) -> list[int]:
    """Numbers of the people at ``corners``."""
    found = boxes(*corners)
    ids, _ = tracker.update(time, found, np.full(len(found), score), np.zeros((len(found), 2)))
    return ids.tolist()


def test_people_who_move_keep_their_numbers_and_newcomers_get_new_ones() -> None:
    tracker = ActorTracker()
    assert run(tracker, 0.0, (0, 0), (50, 0)) == [1, 2]
    assert run(tracker, 1.0, (54, 2), (3, 1)) == [2, 1]
    assert run(tracker, 2.0, (56, 2), (200, 0), (5, 1)) == [2, 3, 1]


def test_a_lost_track_is_found_again_within_the_gap_only() -> None:
    tracker = ActorTracker(max_gap=2.0)
    assert run(tracker, 0.0, (0, 0)) == [1]
    assert run(tracker, 1.0) == []
    assert run(tracker, 2.0, (1, 0)) == [1]
    assert run(tracker, 5.0, (1, 0)) == [2]


def test_smoothing_mixes_past_and_present() -> None:
    tracker = ActorTracker(smoothing=0.5)
    tracker.update(0, boxes((0, 0)), np.array([0.9]), np.array([[1.0]]))
    _, actions = tracker.update(1, boxes((1, 0)), np.array([0.9]), np.array([[0.0]]))
    assert actions[0, 0] == pytest.approx(0.5)


def test_giou_by_hand() -> None:
    value = pairwise_giou(
        np.array([[0, 0, 10, 10]]), np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    )
    np.testing.assert_allclose(value[0], [1.0, 50 / 150, 0 - (300 - 200) / 300])
