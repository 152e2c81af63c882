"""The moment of a change against sums over all moments, and what must hold of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mestad_d2.semisup.change_points import CORRELATION, MOST, centred, change_time, start_posterior


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-6, 6), min_size=1, max_size=12), st.integers(0, 1000))
def test_posterior_is_the_sum_over_all_moments(evidence: list[float], seed: int) -> None:
    count = len(evidence)
    times = 1 + np.sort(np.random.default_rng(seed).uniform(0.01, 0.99, count))
    times = np.unique(times)
    evidence = np.array(evidence[: len(times)])
    edges = [1.0, *((times[1:] + times[:-1]) / 2), 2.0]
    chances = []
    for first in range(len(times) + 1):  # the first frame on which the action is on
        log = np.log([*times, 2.0][first] - [1.0, *times][first])
        for frame, value in enumerate(evidence):
            share = min((edges[frame + 1] - edges[frame]) / CORRELATION, 1)
            if frame < first:
                log -= share * min(max(value, -MOST), MOST)
        chances.append(np.exp(log))
    chances = np.array(chances) / sum(chances)
    expected = [chances[: frame + 1].sum() for frame in range(len(times))]
    assert start_posterior(times, evidence, 1.0, 2.0) == pytest.approx(expected, abs=1e-9)


def test_a_clear_step_is_found_and_silence_means_the_middle() -> None:
    times = 1 + np.arange(1, 25) / 25
    for step in (0.2, 0.5, 0.8):
        evidence = np.where(times - 1 >= step, 4.0, -4.0)
        found = change_time(times, start_posterior(times, evidence, 1.0, 2.0), 1.0, 2.0)
        assert found == pytest.approx(1 + step, abs=0.07)
    silent = start_posterior(times, np.zeros(24), 1.0, 2.0)
    assert change_time(times, silent, 1.0, 2.0) == pytest.approx(1.5, abs=0.03)
    assert (np.diff(silent) > 0).all()


def test_levels_of_unsure_scores_do_not_hide_a_step() -> None:
    times = 1 + np.arange(1, 25) / 25
    # Never above 1/2, yet with a clear rise at 1.6 s.
    scores = np.where(times >= 1.6, -1.0, -6.0)
    started = start_posterior(times, centred(scores, np.ones(24, bool)), 1.0, 2.0)
    assert change_time(times, started, 1.0, 2.0) == pytest.approx(1.6, abs=0.12)


def test_frames_without_the_person_say_nothing() -> None:
    seen = np.array([True, False, True])
    assert centred(np.array([3.0, 99.0, 3.0]), seen)[1] == 0
