"""The benchmark of a mean-teacher step."""

from __future__ import annotations

import pytest
from tiny import tiny_cfg

from mestad_d2.benchmarks.training import benchmark


def test_the_teacher_finds_the_actors_and_the_share_is_that_of_the_two_times() -> None:
    figures = benchmark(tiny_cfg("SEMISUP.ENABLED", True), size=64, actors=4, batch=2, steps=2)
    assert figures["teacher_boxes_per_clip"] == 4
    assert 0 < figures["assigner_seconds"] < figures["step_seconds"]
    share = 100 * figures["assigner_seconds"] / figures["step_seconds"]
    assert figures["assigner_share_percent"] == pytest.approx(share, rel=0.05)
