"""The fit of the confidence, exclusive actions, numbers of people, and what is measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from mestad_d2.densify.confidence import CHANCE, DEFAULT, FEATURES, PRIOR_ROWS, confidence, fit, reasons
from mestad_d2.densify.measure.dense_truth import (
    measure,
    people_by_frame,
    reliability,
    right_rows,
    wrong_among_least_sure,
)
from mestad_d2.formats.ava_csv import AnnotationRow
from mestad_d2.people import Person
from mestad_d2.semisup.actors import KeyFrame
from mestad_d2.semisup.change_points import exclusive_pairs


def test_the_fit_is_the_most_likely_one() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.ones((300, 1)), rng.normal(0, 1, (300, len(DEFAULT) - 1))], axis=1)
    rows[:, CHANCE] = np.log(rng.uniform(0.5, 1, 300))
    right = (rng.random(300) < confidence(rows, rng.normal(0, 1, len(DEFAULT)))).astype(float)
    scale = PRIOR_ROWS * np.maximum((rows**2).mean(axis=0), 0.05) / 4

    def loss(weights: np.ndarray) -> float:
        weights = np.where(np.arange(len(DEFAULT)) == CHANCE, 1.0, weights)
        chance = confidence(rows, weights).clip(1e-12, 1 - 1e-12)
        likelihood = right * np.log(chance) + (1 - right) * np.log(1 - chance)
        return (
            -likelihood.sum()
            + 0.5 * (scale * (weights - DEFAULT) ** 2 * (np.arange(len(DEFAULT)) != CHANCE)).sum()
        )

    assert fit(rows, right) == pytest.approx(minimize(loss, DEFAULT).x, abs=1e-3)
    assert fit(np.zeros((0, len(DEFAULT))), np.zeros(0)).tolist() == DEFAULT.tolist()


def test_reasons_name_what_lowers_a_row() -> None:
    assert len(FEATURES) == len(DEFAULT)
    mean = np.zeros(len(DEFAULT))
    row = mean.copy()
    row[1] = -1.0
    assert reasons(row, DEFAULT, mean) == [FEATURES[1]]


def test_exclusive_are_those_that_never_meet_though_they_could() -> None:
    def people(*actions: set[int]) -> KeyFrame:
        return KeyFrame(0.0, tuple(Person((0, 0, 1, 1), frozenset(a), -1) for a in actions))

    frames = [people({1, 3}, {2, 3}, {1}, {2})] * 10 + [people({4})]
    assert exclusive_pairs(frames) == {frozenset((1, 2))}


def rows_of(*rows: tuple) -> list[AnnotationRow]:
    """(time, x, action, person) of people 0.2 wide."""
    return [AnnotationRow("v", f"{t:.3f}", (x, 0.2, x + 0.2, 0.8), a, p, 0.5) for t, x, a, p in rows]


TIMES = (1.0, 1.25, 1.5, 1.75, 2.0)


def test_figures_of_a_small_case() -> None:
    # One person who starts action 2 between 1.5 and 1.75 s.
    true = rows_of(*((t, 0.1, a, 0) for t in TIMES for a in ((1, 2) if t > 1.6 else (1,))))
    truth = people_by_frame(true)
    spans = {"v": [(1.0, 2.0)]}
    exact = measure(truth, truth, spans).summary()
    assert [exact[k] for k in ("found", "iou", "precision", "recall", "f1", "moment", "moments")] == [
        1,
        1,
        1,
        1,
        1,
        0,
        1,
    ]
    # The union from the first frame on; shifted by half a box (IoU 1/3) on one of three frames.
    given = rows_of(*((t, 0.2 if t == 1.5 else 0.1, a, 0) for t in TIMES for a in (1, 2)))
    figures = measure(truth, people_by_frame(given), spans).summary()
    assert figures["found"] == pytest.approx(2 / 3) and figures["iou"] == pytest.approx((2 + 1 / 3) / 3)
    assert figures["precision"] == pytest.approx(3 / 6) and figures["recall"] == pytest.approx(3 / 4)
    assert figures["moment"] == pytest.approx(0.5)  # said 1.125 s, true 1.625 s
    nothing = measure(truth, {}, spans).summary()
    assert nothing["found"] == nothing["iou"] == nothing["f1"] == 0


def test_rows_are_right_on_the_person_with_the_action() -> None:
    truth = people_by_frame(rows_of((1.25, 0.1, 1, 0), (1.25, 0.6, 2, 1)))
    rows = rows_of((1.25, 0.12, 1, 0), (1.25, 0.12, 2, 0), (1.25, 0.35, 1, 0), (1.5, 0.1, 1, 0))
    assert right_rows(truth, rows)[:3].tolist() == [1, 0, 0] and np.isnan(right_rows(truth, rows)[3])


def test_least_sure_rows_and_reliability() -> None:
    sure, right = np.arange(10) / 10 + 0.05, np.array([0, 0, 1, 0, 1, 1, 1, 1, 1, 0])
    assert wrong_among_least_sure(sure, right) == pytest.approx(0.5)
    bins = reliability(sure, right, bins=2)
    assert [count for *_, count in bins] == [5, 5]
    assert bins[0][:2] == pytest.approx((0.25, 0.4)) and bins[1][:2] == pytest.approx((0.75, 0.8))
