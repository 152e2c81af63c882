"""The FCOS proposal generator as a whole: cost, one run of the head, gradients, learning."""

from __future__ import annotations

import math

import pytest
import torch
from detectron2.modeling import build_proposal_generator
from fvcore.nn import FlopCountAnalysis
from modeling.proposal_generator.helpers import features, images, people, shapes, small_cfg
from torchvision.ops import box_iou

from mestad_d2.errors import UserError
from mestad_d2.modeling.proposal_generator.fcos.head import FCOSHead
from mestad_d2.modeling.proposal_generator.locations import pyramid_locations
from mestad_d2.modeling.proposal_generator.select import Selection

MINUS = {
    "CENTER_SAMPLING": False,
    "CENTERNESS_ON_REG": False,
    "NORM_REG_TARGETS": False,
    "LOC_LOSS": "iou",
}


def _build(**keys):
    cfg = small_cfg("FCOSProposals")
    for key, value in keys.items():
        node = cfg.MODEL.PROPOSALS if key in cfg.MODEL.PROPOSALS else cfg.MODEL.FCOS
        setattr(node, key, value)
    return build_proposal_generator(cfg, shapes())


def test_cost_at_256():
    head = FCOSHead(256, 3)
    levels = [torch.randn(1, 256, 256 // stride, 256 // stride) for stride in (8, 16, 32)]
    flops = FlopCountAnalysis(head, (levels,)).unsupported_ops_warnings(False).total() / 1e9
    assert flops == pytest.approx(6.37, abs=0.01)
    assert sum(p.numel() for p in head.parameters()) / 1e6 == pytest.approx(4.74, abs=0.01)


def test_start_is_the_prior():
    torch.manual_seed(0)
    logits, _, _ = _build(PRIOR_PROB=0.02).head(list(features(1).values()))
    assert logits.sigmoid().mean().item() == pytest.approx(0.02, abs=0.005)


@pytest.mark.parametrize("normed", [True, False])
def test_distances_count_strides_only_when_normed(normed):
    generator = _build(
        NORM_REG_TARGETS=normed, NUM_CONVS=0, SCORE_THRESH_TEST=0.0, NMS_THRESH_TEST=1.0
    ).eval()
    head = generator.head
    torch.nn.init.zeros_(head.distances.weight)
    torch.nn.init.constant_(head.distances.bias, 1.5)
    head.scales.data[2] = 2.0
    generator.test_selection = Selection(0.0, 1.0, 1000)
    (found,), _ = generator(images(1, 512), features(1, 512), None)
    widths = (found.proposal_boxes.tensor[:, 2] - found.proposal_boxes.tensor[:, 0]).tolist()
    distances = [1.5 * 8, 1.5 * 16, 3.0 * 32] if normed else [math.exp(1.5), math.exp(1.5), math.exp(3.0)]
    # Away from the borders, boxes are twice the distance.
    for distance in set(distances):
        assert any(width == pytest.approx(2 * distance, rel=1e-4) for width in widths)
    assert max(widths) <= 2 * max(distances) * 1.0001


def test_head_runs_once_and_proposals_come_from_the_same_run():
    generator = _build(SCORE_THRESH_TRAIN=0.0)
    runs = []
    generator.head.register_forward_hook(lambda module, inputs, output: runs.append(output))
    generator.train()
    proposals, losses = generator(images(2), features(2), [people([10, 20, 60, 110]), people()])
    assert len(runs) == 1
    assert set(losses) == {"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr"}
    for i, found in enumerate(proposals):
        assert 0 < len(found) <= 100
        for name in ("scores", "objectness_logits"):
            assert not getattr(found, name).requires_grad
        assert not found.proposal_boxes.tensor.requires_grad
        logits, _, centerness = runs[0]
        rank = (logits[i].sigmoid() * centerness[i].sigmoid()).sqrt()
        assert torch.isin(found.objectness_logits, rank.detach()).all()
        assert (found.objectness_logits.diff() <= 0).all()


def test_inference_has_no_losses_and_its_own_settings():
    generator = _build(SCORE_THRESH_TRAIN=0.0, SCORE_THRESH_TEST=0.9).eval()
    proposals, losses = generator(images(2), features(2), None)
    assert losses == {} and [len(found) for found in proposals] == [0, 0]
    assert proposals[0].proposal_boxes.tensor.shape == (0, 4)


@pytest.mark.parametrize("keys", [{}, MINUS, {"CENTERNESS_TARGET": "iou", "NORM": ""}])
@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [[0, 0, 128, 128]],
        [[-1e4, -1e4, 1e4, 1e4]],
        [[50, 50, 50.001, 50.001], [60, 60, 60, 60]],
        [[3, 3, 125, 120], [10, 10, 30, 60]],
    ],
)
def test_any_boxes_give_finite_losses_and_a_gradient_for_every_parameter(keys, boxes):
    torch.manual_seed(0)
    generator = _build(**keys).train()
    _, losses = generator(images(2), features(2), [people(*boxes), people()])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    for parameter in generator.parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()
    points, levels = pyramid_locations(
        [(128 // s, 128 // s) for s in (8, 16, 32)], [8, 16, 32], torch.device("cpu")
    )
    positive = bool((generator.targets.assign(points, levels, people(*boxes).gt_boxes.tensor) >= 0).any())
    assert (losses["loss_fcos_loc"] > 0) == (losses["loss_fcos_ctr"] > 0) == positive


def test_losses_are_float32_under_bfloat16():
    generator = _build(SCORE_THRESH_TRAIN=0.0).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        proposals, losses = generator(images(1), features(1), [people([10, 20, 60, 110])])
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())
    assert proposals[0].proposal_boxes.tensor.dtype == torch.float32


@pytest.mark.parametrize("keys", [{}, MINUS])
def test_learns_two_people(keys):
    torch.manual_seed(0)
    generator = _build(**keys).train()
    gt = people([12, 20, 60, 110], [70, 30, 120, 90])
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.01)
    for _ in range(60):
        _, losses = generator(images(1), features(1), [gt])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    (found,), _ = generator.eval()(images(1), features(1), None)
    best = box_iou(gt.gt_boxes.tensor, found.proposal_boxes.tensor[:2]).max(dim=1).values
    assert (best > 0.7).all()


@pytest.mark.parametrize(
    "keys",
    [
        {"SIZES_OF_INTEREST": [64]},
        {"IN_FEATURES": ["p3", "p7"]},
        {"LOC_LOSS": "l1"},
        {"CENTERNESS_TARGET": "x"},
    ],
)
def test_unusable_keys_are_named_in_one_line(keys):
    with pytest.raises(UserError, match=f"(?i){next(iter(keys))}") as error:
        _build(**keys)
    assert "\n" not in str(error.value)
