"""The match of Sparse R-CNN against all permutations, its loss against the formula."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torchvision.ops import generalized_box_iou

from mestad_d2.modeling.proposal_generator.sparse_rcnn.set_loss import SetLoss
from mestad_d2.modeling.proposal_generator.sparse_rcnn.stage import DynamicConv

SIZE = torch.tensor([90.0, 60.0, 90.0, 60.0])


def _random(proposals: int, people: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    low, extent = torch.rand(2, proposals + people, 2, generator=generator) * 40
    boxes = torch.cat([low, low + extent + 2], dim=1)
    return torch.randn(proposals, generator=generator), boxes[:proposals], boxes[proposals:]


def _focal(logit: float, person: bool) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -0.25 * (1 - p) ** 2 * math.log(p) if person else -0.75 * p**2 * math.log(1 - p)


def _terms(logits, boxes, targets, pairs):
    """Focal, L1 and GIoU sums of a match, unweighted."""
    matched = {row for row, _ in pairs}
    focal = sum(_focal(logit, row in matched) for row, logit in enumerate(logits.tolist()))
    l1 = sum((boxes[r] / SIZE - targets[c] / SIZE).abs().sum().item() for r, c in pairs)
    giou = sum(1 - generalized_box_iou(boxes[r, None], targets[c, None]).item() for r, c in pairs)
    return focal, l1, giou


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("proposals, people", [(5, 3), (4, 4), (2, 3)])
def test_no_permutation_has_a_smaller_loss(seed, proposals, people):
    logits, boxes, targets = _random(proposals, people, seed)
    loss = SetLoss(2.0, 5.0, 2.0)
    got = loss(logits, boxes, targets, SIZE)
    if proposals >= people:
        matches = [
            list(zip(rows, range(people), strict=True))
            for rows in itertools.permutations(range(proposals), people)
        ]
    else:
        matches = [
            list(zip(range(proposals), c, strict=True))
            for c in itertools.permutations(range(people), proposals)
        ]
    weighted = [
        tuple(
            weight * term for weight, term in zip((2, 5, 2), _terms(logits, boxes, targets, m), strict=True)
        )
        for m in matches
    ]
    best = min(weighted, key=sum)
    assert [term.item() for term in got] == pytest.approx(best, rel=1e-4)


def test_without_people_only_the_class_learns():
    logits, boxes, targets = _random(4, 0, 0)
    boxes.requires_grad_()
    focal, l1, giou = SetLoss()(logits, boxes, targets, SIZE)
    assert focal > 0 and l1 == 0 and giou == 0
    (l1 + giou).backward()
    assert torch.equal(boxes.grad, torch.zeros(4, 4))


def test_dynamic_convolution_by_hand():
    torch.manual_seed(0)
    layer = DynamicConv(channels=6, dynamic=3, positions=4)
    feature, pooled = torch.randn(2, 6), torch.randn(2, 6, 2, 2)
    got = layer(feature, pooled.flatten(2))
    for i in range(2):
        weights = layer.weights(feature[i])
        first, second = weights[:18].view(6, 3), weights[18:].view(3, 6)
        rows = []
        for y, x in itertools.product(range(2), range(2)):
            hidden = layer.norm_in(pooled[i, :, y, x] @ first).relu()
            rows.append(layer.norm_out(hidden @ second).relu())
        torch.testing.assert_close(got[i], layer.norm(layer.out(torch.cat(rows))).relu())
