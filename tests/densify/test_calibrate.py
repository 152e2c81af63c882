"""Whether the annotators' left-out key frames speak for the teacher's boxes."""

from __future__ import annotations

import numpy as np
import pytest

from mestad_d2.densify.boxes import BoxNoise, fuse
from mestad_d2.densify.measure.calibrate import ENOUGH_BOXES, LeftOut, boxes_help, fit_confidence
from mestad_d2.densify.stretch import ActorLabels
from mestad_d2.people import Person
from mestad_d2.semisup.actors import Actor, KeyFrame, Track

TRUE, OFF = (0.2, 0.2, 0.4, 0.6), (0.3, 0.2, 0.5, 0.6)


def left_out(line: tuple, fused: tuple, count: int = ENOUGH_BOXES) -> list[LeftOut]:
    """Somebody at TRUE doing action 1 beside somebody far off, with the box of either way."""
    me, other = Person(TRUE, frozenset({1}), 4), Person((0.7, 0.2, 0.9, 0.6), frozenset({2}), 5)
    track = Track(
        np.ones(1, bool), np.array([fused]), np.ones(1), np.full((1, 2), 0.5), np.zeros(1), np.zeros(1)
    )
    labels = ActorLabels(
        4, Actor(me, me), np.ones(1), np.array([fused]), {1: np.ones(1)}, track, np.array([line])
    )
    return [LeftOut(labels, 0, KeyFrame(2.0, (other, me)), 1.0)] * count


def test_the_boxes_count_where_they_are_clearly_better_than_the_line() -> None:
    assert boxes_help(left_out(OFF, TRUE))
    assert not boxes_help(left_out(TRUE, OFF)) and not boxes_help(left_out(TRUE, TRUE))
    # A few people tell too little.
    assert boxes_help(left_out(TRUE, OFF, ENOUGH_BOXES - 1)) and boxes_help([])


def test_untrusted_boxes_leave_the_line() -> None:
    times, ends = np.linspace(1, 2, 11), [(1.0, np.array(TRUE)), (2.0, np.array(OFF))]
    seen = np.tile((0.1, 0.1, 0.3, 0.5), (11, 1))
    line = np.array(TRUE) + (times - 1)[:, None] * (np.array(OFF) - np.array(TRUE))
    assert fuse(times, seen, np.ones(11, bool), ends, BoxNoise(trusted=False)) == pytest.approx(line)
    assert fuse(times, seen, np.ones(11, bool), ends, BoxNoise()) != pytest.approx(line, abs=1e-3)


def test_confidence_is_fitted_to_the_boxes_that_will_be_written() -> None:
    """With the box half off (IoU 1/3) the same rows are wrong, and the constant sign is worth less."""
    found = left_out(TRUE, OFF)
    (sure, count), (unsure, _) = fit_confidence(found, trusted=False), fit_confidence(found, trusted=True)
    assert count == len(found) and sure[0] > unsure[0]
