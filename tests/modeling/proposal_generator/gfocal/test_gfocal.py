"""GFocalV2's losses, score and boxes against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from detectron2.modeling import build_proposal_generator
from modeling.proposal_generator.helpers import features, images, people, shapes, small_cfg
from torchvision.ops import box_iou, generalized_box_iou

from mestad_d2.modeling.proposal_generator.gfocal.atss import atss_assign
from mestad_d2.modeling.proposal_generator.gfocal.head import GFocalHead, QualityEstimator
from mestad_d2.modeling.proposal_generator.gfocal.losses import distribution_focal_loss, quality_focal_loss


def test_quality_focal_loss():
    generator = torch.Generator().manual_seed(0)
    probability, quality = torch.rand(2, 40, generator=generator, dtype=torch.float64)
    quality[::3] = 0.0
    got = quality_focal_loss(probability, quality, beta=1.5)
    for value, p, y in zip(got.tolist(), probability.tolist(), quality.tolist(), strict=True):
        expected = -(abs(y - p) ** 1.5) * ((1 - y) * math.log(1 - p) + y * math.log(p))
        assert value == pytest.approx(expected, rel=1e-9)


def test_quality_focal_loss_has_a_gradient_at_the_ends():
    probability = torch.tensor([0.0, 1.0, 0.5], requires_grad=True)
    quality_focal_loss(probability, torch.tensor([1.0, 0.0, 0.5])).sum().backward()
    assert torch.isfinite(probability.grad).all()


def test_distribution_focal_loss():
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(30, 9, generator=generator, dtype=torch.float64)
    distance = torch.rand(30, generator=generator, dtype=torch.float64) * 8
    distance[:3] = torch.tensor([0.0, 8.0, 5.0])
    got = distribution_focal_loss(logits, distance)
    for value, row, y in zip(got.tolist(), logits.tolist(), distance.tolist(), strict=True):
        total = sum(math.exp(x) for x in row)
        low, high = math.floor(y), math.floor(y) + 1
        expected = -(high - y) * math.log(math.exp(row[low]) / total)
        if y > low:
            expected -= (y - low) * math.log(math.exp(row[high]) / total)
        assert value == pytest.approx(expected, rel=1e-9)


def test_quality_sees_the_largest_probabilities_of_each_side_and_their_mean():
    torch.manual_seed(0)
    estimator = QualityEstimator(topk=2, hidden=8)
    logits = torch.randn(1, 4 * 5, 1, 1)
    statistics = []
    for side in logits.view(4, 5).softmax(dim=1):
        first, second = sorted(side.tolist(), reverse=True)[:2]
        statistics += [first, second, (first + second) / 2]
    expected = estimator.layers(torch.tensor(statistics).view(1, 12, 1, 1))
    torch.testing.assert_close(estimator(logits), expected)
    shuffled = logits.view(4, 5)[:, torch.randperm(5)].reshape(1, 20, 1, 1)
    torch.testing.assert_close(estimator(shuffled), expected)


def test_score_is_class_times_quality():
    torch.manual_seed(0)
    head = GFocalHead(16, 3, num_convs=0, reg_max=4, quality_topk=2)
    maps = list(features(1).values())
    scores, distributions = head(maps)
    assert scores.shape == (1, 256 + 64 + 16) and distributions.shape == (1, 336, 4, 5)
    expected = head.cls_logits(maps[1]).sigmoid() * head.quality(head.distributions(maps[1]))
    torch.testing.assert_close(scores[:, 256:320], expected.flatten(1))


def test_losses_of_the_whole_equal_the_formulas():
    torch.manual_seed(0)
    cfg = small_cfg("GFocalProposals")
    generator = build_proposal_generator(cfg, shapes()).train()
    gt = people([12, 20, 60, 110], [70, 30, 120, 90])
    _, got = generator(images(1), features(1), [gt])

    scores, distributions = (x[0] for x in generator.head(list(features(1).values())))
    grid = [
        (s, (x + 0.5) * s, (y + 0.5) * s)
        for s in (8, 16, 32)
        for y in range(128 // s)
        for x in range(128 // s)
    ]
    anchors = torch.tensor([[x - 4 * s, y - 4 * s, x + 4 * s, y + 4 * s] for s, x, y in grid])
    levels = torch.tensor([{8: 0, 16: 1, 32: 2}[s] for s, _, _ in grid])
    index = atss_assign(anchors, levels, gt.gt_boxes.tensor).tolist()
    qfl = loc = dfl = weights = count = 0.0
    for r, (s, x, y) in enumerate(grid):
        p = scores[r].item()
        if index[r] < 0:
            qfl += p**2 * -math.log(1 - p)
            continue
        mean = (distributions[r].softmax(dim=1) * torch.arange(17)).sum(dim=1) * s
        box = torch.stack([x - mean[0], y - mean[1], x + mean[2], y + mean[3]])[None]
        target = gt.gt_boxes.tensor[index[r]][None]
        iou = box_iou(box, target).item()
        qfl -= abs(iou - p) ** 2 * (iou * math.log(p) + (1 - iou) * math.log(1 - p))
        loc += p * (1 - generalized_box_iou(box, target).item())
        x1, y1, x2, y2 = target[0].tolist()
        sides = torch.tensor([x - x1, y - y1, x2 - x, y2 - y]) / s
        dfl += p * distribution_focal_loss(distributions[r], sides).mean().item()
        weights, count = weights + p, count + 1
    assert count > 3
    assert got["loss_gfocal_cls"].item() == pytest.approx(qfl / count, rel=1e-4)
    assert got["loss_gfocal_loc"].item() == pytest.approx(2 * loc / weights, rel=1e-4)
    assert got["loss_gfocal_dfl"].item() == pytest.approx(0.25 * dfl / weights, rel=1e-4)
