"""The assigner against exhaustive search and against costs written out differently."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from mestad_d2.semisup.assigner import TemporalLabelAssigner

SIZE = (60, 80)
WEIGHTS = (1.0, 0.7, 1.3)
PERMUTATIONS = {
    (n, m): np.array(list(permutations(range(m), n)), dtype=np.int64) for n in range(7) for m in range(n, 7)
}


def random_case(rng: np.random.Generator, ties: bool) -> tuple[torch.Tensor, ...]:
    """Boxes, scores, gt boxes, gt labels; with ties coordinates, scores and people come from few values."""
    n, m, classes = rng.integers(0, 7), rng.integers(0, 7), 4

    def boxes(count: int) -> np.ndarray:
        if ties:
            start = rng.integers(0, 2, (count, 2)) * 20.0
            return np.concatenate([start, start + 20], axis=1)
        start = rng.uniform(0, 50, (count, 2))
        return np.concatenate([start, start + rng.uniform(1, 30, (count, 2))], axis=1)

    scores = rng.integers(0, 3, (n, classes)) / 2 if ties else rng.uniform(0, 1, (n, classes))
    arrays = (boxes(n), scores, boxes(m), rng.integers(0, 2, (m, classes)))
    return tuple(torch.from_numpy(np.asarray(a, dtype=np.float64)) for a in arrays)


def expected_costs(boxes: np.ndarray, scores: np.ndarray, gt: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Eq. 6 with background columns, in numpy, for all pairs at once."""
    bce_w, l1_w, giou_w = WEIGHTS
    with np.errstate(divide="ignore"):
        yes, no = -np.maximum(np.log(scores), -100), -np.maximum(np.log(1 - scores), -100)
    bce = np.where(labels[None] > 0, yes[:, None], no[:, None]).mean(axis=2)
    d = np.abs(boxes[:, None] - gt[None]) / np.array([SIZE[1], SIZE[0]] * 2)
    l1 = np.where(d < 1, d * d / 2, d - 0.5).sum(axis=2)
    a, b = boxes[:, None], gt[None]
    inter = np.clip(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0, None).prod(
        axis=2
    )
    union = (a[..., 2:] - a[..., :2]).prod(axis=2) + (b[..., 2:] - b[..., :2]).prod(axis=2) - inter
    hull = (np.maximum(a[..., 2:], b[..., 2:]) - np.minimum(a[..., :2], b[..., :2])).prod(axis=2)
    people = bce_w * bce + l1_w * l1 + giou_w * (1 - inter / union + (hull - union) / hull)
    background = np.repeat(bce_w * no.mean(axis=1, keepdims=True), max(len(boxes) - len(gt), 0), axis=1)
    return np.concatenate([people, background], axis=1)


@pytest.mark.parametrize("cases", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_least_total_cost_of_exhaustive_search(cases: int) -> None:
    rng = np.random.default_rng(0)
    assign = TemporalLabelAssigner(*WEIGHTS)
    seen: set[int] = set()
    for case in range(cases):
        arguments = random_case(rng, ties=case % 4 == 0)
        boxes, scores, gt, labels = (x.numpy() for x in arguments)
        index, costs = assign(*arguments, SIZE)
        expected = expected_costs(boxes, scores, gt, labels)
        n, width = expected.shape
        best = expected[np.arange(n), PERMUTATIONS[n, width]].sum(axis=1).min()
        # Each person is used once; background, the columns behind the people, as often as there is surplus.
        people = index[index >= 0].tolist()
        assert len(set(people)) == len(people) and index.shape == costs.shape == (n,)
        assert (index < 0).sum() <= max(n - len(gt), 0)
        own = [expected[i, j if j >= 0 else width - 1] for i, j in enumerate(index.tolist())]
        np.testing.assert_allclose(costs.numpy(), own, rtol=1e-5, atol=1e-6)
        assert sum(own) == pytest.approx(best, rel=1e-9, abs=1e-9)
        seen.add((n > len(gt)) - (n < len(gt)))
    assert seen == {-1, 0, 1}


def test_costs_are_the_losses_of_torch() -> None:
    rng = np.random.default_rng(1)
    boxes, scores, gt, labels = random_case(rng, False)
    while not (len(boxes) > len(gt) > 0):
        boxes, scores, gt, labels = random_case(rng, False)
    scale = torch.tensor([SIZE[1], SIZE[0]] * 2)
    costs = TemporalLabelAssigner().costs(boxes, scores, gt, labels, SIZE)
    for i in range(len(boxes)):
        for j in range(len(gt)):
            want = (
                F.binary_cross_entropy(scores[i], labels[j])
                + F.smooth_l1_loss(boxes[i] / scale, gt[j] / scale, reduction="sum")
                + generalized_box_iou_loss(boxes[i], gt[j])
            )
            assert float(costs[i, j]) == pytest.approx(float(want), abs=1e-6)
        assert float(costs[i, -1]) == pytest.approx(
            float(F.binary_cross_entropy(scores[i], torch.zeros_like(scores[i]))), abs=1e-9
        )


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.1])
def test_bad_scores_are_refused(bad: float) -> None:
    box = torch.tensor([[0.0, 0, 10, 10]])
    with pytest.raises(ValueError, match=r"scores must lie in \[0, 1\]"):
        TemporalLabelAssigner()(box, torch.tensor([[0.5, bad]]), box, torch.ones(1, 2), SIZE)


def test_boxes_that_are_not_finite_are_refused_and_empty_ones_are_not() -> None:
    box, score = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.5]])
    with pytest.raises(ValueError, match="finite"):
        TemporalLabelAssigner()(box * float("inf"), score, box, score, SIZE)
    index, costs = TemporalLabelAssigner()(box * 0, score, box * 0, score, SIZE)
    assert index.tolist() == [0] and torch.isfinite(costs).all()
