"""Frame-mAP against plain loops on small worlds full of ties, and properties that any mAP has."""

from __future__ import annotations

import numpy as np
import pytest
from brute_force import brute_force

from mestad_d2.errors import UserError
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS
from mestad_d2.evaluation.frame_map.score import average_precision, frame_map, precision_recall
from mestad_d2.evaluation.rows import Rows, make_rows
from mestad_d2.formats.label_map import LabelMap

LABELS = LabelMap({1: "a", 2: "b", 3: "c", 5: "d"})


def _world(seed: int) -> tuple[list, list]:
    """Rows on a coarse grid: equal scores and IoUs, duplicates, empty and inverted boxes, crowded frames."""
    rng = np.random.default_rng(seed)
    grid, levels = rng.choice([4, 6]), rng.choice([2, 4, 1000])
    frames = [f"v{i}" for i in range(rng.integers(1, 5))]

    def boxes(n: int, wrong: float) -> np.ndarray:
        corners = np.sort(rng.integers(0, grid + 1, (n, 2, 2)), axis=1)
        flip = rng.random(n) < wrong
        corners[flip] = corners[flip][:, ::-1]
        return corners.reshape(n, 4) / grid

    def rows(n: int, names: list[str], high: int, wrong: float) -> list:
        b = boxes(n, wrong).tolist()
        scores = (rng.integers(0, high, n) / high).tolist()
        return [(str(rng.choice(names)), *b[i], int(rng.integers(1, 6)), scores[i]) for i in range(n)]

    gt = rows(rng.integers(0, 40), frames, 3, 0.01 * (seed % 4 == 0))
    det = rows(rng.choice([0, 20, 250]), [*frames, "elsewhere"], levels, 0.1)
    return gt, det


def _rows(rows: list) -> Rows:
    table = np.array([r[1:] for r in rows], dtype=np.float64).reshape(-1, 6)
    return make_rows([r[0] for r in rows], table[:, :4], table[:, 4], table[:, 5])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(60))
def test_equals_plain_loops(seed: int, protocol: str) -> None:
    gt, det = _world(seed)
    # Without the published quirk of sorting ground truth by its last column, all its scores are equal.
    if seed % 2:
        gt = [(*r[:6], 1.0) for r in gt]
    excluded = {"v0"} if seed % 3 == 0 else set()
    try:
        want = brute_force(gt, det, set(LABELS.names), protocol, excluded)
    except ValueError:
        with pytest.raises(UserError, match="inverted"):
            frame_map(_rows(gt), _rows(det), LABELS, protocol, excluded)
        return
    got = frame_map(_rows(gt), _rows(det), LABELS, protocol, excluded)
    for action, (ap, *counts) in want.items():
        c = got.per_class[action]
        assert c.ap == pytest.approx(ap, abs=1e-12, nan_ok=True)
        assert [c.num_gt, c.num_det, c.num_tp] == counts
    counted = [w for w in want.values() if protocol != "mmaction2" or w[2]]
    aps = [w[0] for w in counted if not np.isnan(w[0])]
    assert got.mAP == pytest.approx(np.mean(aps) if aps else np.nan, nan_ok=True)
    assert got.num_classes == len(aps)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(1, 60, 4))
def test_stricter_overlaps_equal_plain_loops(seed: int, protocol: str) -> None:
    gt, det = _world(seed)
    got = frame_map(_rows(gt), _rows(det), LABELS, protocol, {"v0"})
    means = []
    for iou in np.linspace(0.5, 0.95, 10):
        want = brute_force(gt, det, set(LABELS.names), protocol, {"v0"}, iou).values()
        aps = [w[0] for w in want if not np.isnan(w[0]) and (protocol != "mmaction2" or w[2])]
        means.append(np.mean(aps) if aps else np.nan)
        assert got.mean_at(iou) == pytest.approx(means[-1], abs=1e-12, nan_ok=True)
    wanted = {"mAP75": means[5], "mAP50:95": np.mean(means)}
    assert got.stricter() == pytest.approx(wanted, abs=1e-12, nan_ok=True)
    assert got.mean_at(0.5) == pytest.approx(got.mAP, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_perfect_detections(protocol: str) -> None:
    rng = np.random.default_rng(1)
    low = rng.random((30, 2)) * 0.5
    boxes = np.concatenate([low, low + 0.3], axis=1)
    gt = make_rows([f"v{i}" for i in range(30)], boxes, rng.choice([1, 2, 5], 30))
    result = frame_map(gt, gt, LABELS, protocol)
    assert result.mAP == 1
    assert np.isnan(result.per_class[3].ap)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("seed", range(5))
def test_only_the_order_of_scores_counts(seed: int, protocol: str) -> None:
    gt, det = _world(4 * seed + 1)
    a = frame_map(_rows(gt), _rows(det), LABELS, protocol)
    b = frame_map(_rows(gt), _rows([(*r[:6], 3 * r[6] - 20) for r in det]), LABELS, protocol)
    assert a.mAP == pytest.approx(b.mAP, nan_ok=True)


def test_two_persons_with_equal_overlap() -> None:
    """The eighth column of the ground truth decides which of two equally near boxes is claimed."""
    boxes = [[0.0, 0, 0.5, 1], [0.25, 0, 0.75, 1]]
    det = make_rows(["v", "v"], [[0.125, 0, 0.625, 1], [0.25, 0, 0.75, 1]], [1, 1], [0.9, 0.8])
    for persons, tp in (([0, 1], 1), ([1, 0], 2)):
        gt = make_rows(["v", "v"], boxes, [1, 1], persons)
        assert frame_map(gt, det, LABELS, "activitynet").per_class[1].num_tp == tp
        assert frame_map(gt, det, LABELS, "slowfast").per_class[1].num_tp == 2


def test_average_precision_by_hand() -> None:
    hits = np.array([True, False, True, False, False, True])
    precision, recall = precision_recall(hits, 4)
    assert recall.tolist() == [0.25, 0.25, 0.5, 0.5, 0.5, 0.75]
    assert average_precision(precision, recall) == pytest.approx((1 + 2 / 3 + 1 / 2) / 4)


def test_groups_of_typed_and_untyped_maps() -> None:
    gt = make_rows(["v"] * 2, [[0, 0, 1, 1]] * 2, [1, 2])
    result = frame_map(gt, gt.select(np.array([0])), LABELS)
    assert result.groups(LABELS) == {}
    typed = LabelMap(LABELS.names, {1: "pose", 2: "person", 3: "object"})
    assert result.groups(typed) == {"pose": 1.0, "person": 0.0}


def test_unknown_protocol() -> None:
    rows = _rows([])
    with pytest.raises(UserError, match="activitynet, slowfast"):
        frame_map(rows, rows, LABELS, "coco")
