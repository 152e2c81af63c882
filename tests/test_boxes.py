"""Overlaps against torchvision, and against a count of the cells of a grid."""

from __future__ import annotations

import numpy as np
import torch
from torchvision.ops import box_iou as library_iou
from torchvision.ops import generalized_box_iou

from mestad_d2.boxes import box_iou, paired_iou, pairwise_giou, pairwise_iou


def some_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Sorted corners on a grid of 8 cells, so that equal, touching and distant boxes occur."""
    low = rng.integers(0, 7, (count, 2))
    return np.hstack([low, low + rng.integers(1, 3, (count, 2))]).astype(np.float64)


def test_against_the_library() -> None:
    a, b = some_boxes(np.random.default_rng(0), 60), some_boxes(np.random.default_rng(1), 50)
    want = library_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(pairwise_iou(a, b), want, atol=1e-12)
    np.testing.assert_allclose(paired_iou(a[:50], b), want.diagonal(), atol=1e-12)
    assert box_iou(a[0], b[0]) == want[0, 0]
    want = generalized_box_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(pairwise_giou(a, b), want, atol=1e-12)


def test_against_cells_of_a_grid() -> None:
    a, b = some_boxes(np.random.default_rng(2), 30), some_boxes(np.random.default_rng(3), 30)

    def cells(box: np.ndarray) -> set[tuple[int, int]]:
        x1, y1, x2, y2 = box.astype(int)
        return {(x, y) for x in range(x1, x2) for y in range(y1, y2)}

    for i, mine in enumerate(map(cells, a)):
        for j, other in enumerate(map(cells, b)):
            assert abs(pairwise_iou(a, b)[i, j] - len(mine & other) / len(mine | other)) < 1e-12


def test_nothing_overlaps_nothing() -> None:
    empty = np.array([[0.5, 0.5, 0.5, 0.5]])
    assert box_iou(empty[0], empty[0]) == 0 and paired_iou(empty, empty)[0] == 0
    assert pairwise_iou(empty, empty)[0, 0] == 0
    assert pairwise_iou(np.zeros((0, 4)), some_boxes(np.random.default_rng(0), 3)).shape == (0, 3)
    sliver = np.array([[0, 0, 1e-200, 1e-200]])
    assert paired_iou(sliver, sliver)[0] == 0
