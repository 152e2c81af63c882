"""FCOS losses against their formulas and torchvision."""

from __future__ import annotations

import math

import pytest
import torch
from fvcore.nn import giou_loss as fvcore_giou_loss
from torchvision.ops import box_iou, generalized_box_iou

from mestad_d2.modeling.proposal_generator.boxes import BOX_LOSSES, aligned_iou
from mestad_d2.modeling.proposal_generator.fcos.losses import FCOSLosses


def _boxes(count: int, seed: int) -> torch.Tensor:
    low, size = torch.rand(2, count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.cat([low * 100, low * 100 + size * 60 + 1], dim=1)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_pairwise_functions_equal_torchvision_and_fvcore():
    a, b = _boxes(50, 1), _boxes(50, 2)
    torch.testing.assert_close(aligned_iou(a, b), box_iou(a, b).diagonal(), atol=1e-8, rtol=1e-6)
    torch.testing.assert_close(
        BOX_LOSSES["giou"](a, b), 1 - generalized_box_iou(a, b).diagonal(), atol=1e-8, rtol=1e-6
    )
    torch.testing.assert_close(BOX_LOSSES["giou"](a, b), fvcore_giou_loss(a, b))
    near = a + 0.5
    torch.testing.assert_close(
        BOX_LOSSES["iou"](a, near), -box_iou(a, near).diagonal().log(), atol=1e-7, rtol=1e-6
    )


def _random(count: int):
    """Predictions and targets of two pictures: every point lies inside its box and its target."""
    generator = torch.Generator().manual_seed(0)
    logits, centerness = torch.randn(2, 2, count, generator=generator, dtype=torch.float64)
    points = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 100
    distances, wanted = torch.rand(2, 2, count, 4, generator=generator, dtype=torch.float64) * 50 + 1
    targets = torch.cat([points - wanted[..., :2], points + wanted[..., 2:]], dim=-1)
    boxes = torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)
    index = (torch.rand(2, count, generator=generator) < 0.4).long() - 1
    return logits, distances, centerness, points, targets, index, boxes, wanted


@pytest.mark.parametrize("box_loss", ["giou", "iou"])
@pytest.mark.parametrize("centerness_target", ["centerness", "iou"])
def test_losses_equal_the_formulas(box_loss, centerness_target):
    alpha, gamma, factor = 0.3, 1.7, 2.5
    *arguments, boxes, wanted = _random(15)
    logits, _, centerness, _, targets, index = arguments
    cls = loc = ctr = weight_sum = 0.0
    for n, r in ((n, r) for n in range(2) for r in range(15)):
        p, q = _sigmoid(logits[n, r]), _sigmoid(centerness[n, r])
        if index[n, r] < 0:
            cls -= (1 - alpha) * p**gamma * math.log(1 - p)
            continue
        cls -= alpha * (1 - p) ** gamma * math.log(p)
        left, top, right, bottom = wanted[n, r].tolist()
        weight = math.sqrt(min(left, right) / max(left, right) * min(top, bottom) / max(top, bottom))
        iou = box_iou(boxes[n, r, None], targets[n, r, None]).item()
        giou = generalized_box_iou(boxes[n, r, None], targets[n, r, None]).item()
        loc += weight * (1 - giou if box_loss == "giou" else -math.log(iou))
        weight_sum += weight
        target = weight if centerness_target == "centerness" else iou
        ctr -= target * math.log(q) + (1 - target) * math.log(1 - q)
    number = int((index >= 0).sum())
    got = FCOSLosses(alpha, gamma, box_loss, centerness_target, factor)(*arguments)
    assert got["loss_fcos_cls"].item() == pytest.approx(factor * cls / number, rel=1e-5)
    assert got["loss_fcos_loc"].item() == pytest.approx(factor * loc / weight_sum, rel=1e-5)
    assert got["loss_fcos_ctr"].item() == pytest.approx(factor * ctr / number, rel=1e-5)


def test_one_point_off_the_centre_counts_in_full():
    """The box loss is a weighted mean, also where the weights sum to less than one."""
    logits, distances, centerness, points, targets, _, boxes, wanted = _random(15)
    one = torch.full((2, 15), -1)
    one[0, 4] = 0
    got = FCOSLosses()(logits, distances, centerness, points, targets, one)["loss_fcos_loc"]
    assert got.item() == pytest.approx(
        1 - generalized_box_iou(boxes[0, 4:5], targets[0, 4:5]).item(), rel=1e-5
    )


def test_without_positives_losses_are_finite_and_keep_the_graph():
    logits, centerness = torch.zeros(2, 1, 6, requires_grad=True).unbind()
    distances = torch.zeros(1, 6, 4, requires_grad=True)
    background = torch.full((1, 6), -1)
    losses = FCOSLosses()(logits, distances, centerness, torch.zeros(6, 2), torch.zeros(1, 6, 4), background)
    assert losses["loss_fcos_loc"] == 0 and losses["loss_fcos_ctr"] == 0
    sum(losses.values()).backward()
    assert torch.equal(distances.grad, torch.zeros(1, 6, 4))


@pytest.mark.parametrize("box_loss", ["giou", "iou"])
def test_nan_reaches_the_loss_and_raises_nothing(box_loss):
    *arguments, _, _ = _random(3)
    arguments[1] = torch.full_like(arguments[1], math.nan)
    arguments[5] = torch.zeros(2, 3, dtype=torch.int64)
    assert FCOSLosses(box_loss=box_loss)(*arguments)["loss_fcos_loc"].isnan()
