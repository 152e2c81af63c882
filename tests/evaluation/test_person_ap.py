"""Person AP: values by hand, equal to pycocotools, and what counts as a person."""

from __future__ import annotations

import numpy as np
import pytest
from coco_person_ap import coco_person_ap
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    cells=st.sampled_from([3, 6, 1000]),
    levels=st.sampled_from([1, 4, 1000]),
    crowd=st.sampled_from([3, 15, 130]),
    inverted=st.booleans(),
)
def test_equal_to_pycocotools(seed: int, cells: int, levels: int, crowd: int, inverted: bool) -> None:
    """Few cells make equal IoUs and boxes that stand there twice, few levels equal scores."""
    rng = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        corners = np.sort(rng.integers(0, cells + 1, (count, 2, 2)), axis=1)
        return corners.reshape(count, 4) / cells

    truth, found = {}, {}
    for frame in range(rng.integers(1, 6)):
        persons = boxes(rng.integers(0, min(crowd, 40)))
        truth[f"f{frame}"] = persons[(persons[:, 2:] > persons[:, :2]).all(axis=1)]
        # Some beside persons, some anywhere, some frames without or not annotated.
        near = truth[f"f{frame}"] + rng.normal(0, 0.02, (len(truth[f"f{frame}"]), 4)) * rng.integers(0, 2)
        near = near[(near[:, 2:] >= near[:, :2]).all(axis=1)]
        detections = np.concatenate([near, boxes(rng.integers(0, crowd)), np.repeat(near, 2, axis=0)])
        if inverted:
            detections = np.where(
                rng.random((len(detections), 1)) < 0.1, detections[:, [2, 1, 0, 3]], detections
            )
        scores = (rng.integers(0, levels, len(detections)) / levels).astype(np.float32)
        found[f"f{frame + rng.integers(0, 2) * rng.integers(0, 2)}"] = (detections, scores)
    truth["first"] = np.array([A, B])
    found["first"] = (np.array([A]), np.array([0.5], dtype=np.float32))
    got, wanted = person_ap(truth, found), coco_person_ap(truth, found)
    for name, value in wanted.items():
        assert got[name] == pytest.approx(value, abs=1e-9), name


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
