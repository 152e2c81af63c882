"""Person AP: values by hand, and what counts as a person."""

from __future__ import annotations

import numpy as np
import pytest

from mestad_d2.evaluation.person_ap import distinct_persons, person_ap
from mestad_d2.evaluation.rows import Rows, make_rows

A, B = [0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]


def test_by_hand() -> None:
    truth = {"f": np.array([A, B]), "g": np.array([A]), "empty": np.empty((0, 4))}
    found = {
        "f": (np.array([A, [0.5, 0.0, 1.0, 0.8]]), np.array([0.9, 0.8])),
        "empty": (np.array([A]), np.array([0.85])),
        "not annotated": (np.array([A]), np.array([1.0])),
    }
    got = person_ap(truth, found)
    # Ranked: true, false, true of three persons. B is found with IoU 0.8, so for 7 of 10 thresholds.
    high, low = (34 + 33 * 2 / 3) / 101, 34 / 101
    assert got["AP50"] == pytest.approx(high)
    assert got["AP50:95"] == pytest.approx((7 * high + 3 * low) / 10)
    assert got["AR@10"] == pytest.approx((7 * 2 / 3 + 3 / 3) / 10)


def test_recall_is_of_ten_actors() -> None:
    grid = np.array([[i / 20, 0, (i + 1) / 20, 1] for i in range(20)])
    got = person_ap({"f": grid}, {"f": (grid, np.linspace(1, 0.1, 20))})
    assert got == {"AP50": pytest.approx(1), "AP50:95": pytest.approx(1), "AR@10": pytest.approx(0.5)}


def test_nobody() -> None:
    assert np.isnan(person_ap({"f": np.empty((0, 4))}, {})["AP50"])
    assert person_ap({"f": np.array([A])}, {})["AP50"] == 0


def test_rows_of_one_person_count_once() -> None:
    rows = make_rows(["f", "g", "f", "f", "f"], [A, A, A, B, [0.3, 0, 0.3, 1]], [1, 1, 2, 1, 1])
    rows.keys.append("without rows")
    persons = distinct_persons(rows, excluded={"g"})
    assert set(persons) == {"f", "without rows"}
    assert persons["f"].tolist() == [A, B]
    assert len(persons["without rows"]) == 0


def test_no_rows() -> None:
    empty = np.empty(0, dtype=np.int64)
    assert distinct_persons(Rows(["f"], empty, np.empty((0, 4)), empty, np.empty(0), empty), set())[
        "f"
    ].shape == (0, 4)
