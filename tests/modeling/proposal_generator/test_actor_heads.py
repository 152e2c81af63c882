"""What holds for every actor head of Table 2: fields, losses, gradients, learning."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling import build_proposal_generator
from detectron2.structures import Instances
from detectron2.utils.events import EventStorage
from modeling.proposal_generator.helpers import features, images, people, shapes, small_cfg
from torchvision.ops import box_iou

from mestad_d2.errors import UserError

HEADS = ["FCOSProposals", "GFocalProposals", "RetinaNetProposals", "RPNRCNNProposals", "SparseRCNNProposals"]
KEYS = ["FCOS", "FCOS", "RETINANET", "RPN", "SPARSE_RCNN"]


def _build(name: str, thresh: float = 0.0):
    torch.manual_seed(0)
    cfg = small_cfg(name)
    cfg.MODEL.PROPOSALS.SCORE_THRESH_TRAIN = thresh
    return build_proposal_generator(cfg, shapes())


@pytest.fixture(autouse=True)
def _storage():
    with EventStorage():
        yield


@pytest.mark.parametrize("name", HEADS)
def test_training_gives_detached_proposals_in_order_and_losses(name):
    generator = _build(name).train()
    proposals, losses = generator(images(2), features(2), [people([10, 20, 60, 110]), people([5, 5, 99, 99])])
    assert len(losses) >= 2 and all(key.startswith("loss_") for key in losses)
    assert all(loss.dim() == 0 and loss.requires_grad and torch.isfinite(loss) for loss in losses.values())
    for found in proposals:
        # A generator with proposals of its own numbers them, for the heads that embed them.
        assert set(found.get_fields()) - {"proposal_index"} == {
            "proposal_boxes",
            "objectness_logits",
            "scores",
        }
        boxes = found.proposal_boxes.tensor
        assert 0 < len(found) <= 100 and boxes.min() >= 0 and boxes.max() <= 128
        assert (found.objectness_logits.diff() <= 0).all()
        assert not any(tensor.requires_grad for tensor in (boxes, found.scores, found.objectness_logits))


@pytest.mark.parametrize("name", HEADS)
def test_without_a_score_above_the_threshold_fields_are_empty(name):
    generator = _build(name).eval()
    generator.test_selection = generator.test_selection.__class__(0.999, 0.3, 10)
    proposals, losses = generator(images(2), features(2), None)
    assert losses == {} and [len(found) for found in proposals] == [0, 0]
    assert all(
        isinstance(found, Instances) and found.proposal_boxes.tensor.shape == (0, 4) for found in proposals
    )


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("boxes", [[], [[0, 0, 128, 128]], [[-2e3, -2e3, 2e3, 2e3]], [[50, 50, 50.1, 50.1]]])
def test_any_boxes_give_finite_losses_and_gradients(name, boxes):
    generator = _build(name).train()
    _, losses = generator(images(2), features(2), [people(*boxes), people()])
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    for parameter in generator.parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("name", HEADS)
def test_losses_are_float32_under_bfloat16(name):
    generator = _build(name).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, losses = generator(images(1), features(1), [people([10, 20, 60, 110])])
    assert all(loss.dtype == torch.float32 and torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("name", ["GFocalProposals", "RetinaNetProposals", "SparseRCNNProposals"])
def test_nan_reaches_the_losses_and_raises_nothing(name):
    generator = _build(name).train()
    broken = {level: x * float("nan") for level, x in features(1).items()}
    proposals, losses = generator(images(1), broken, [people([10, 20, 60, 110])])
    assert len(proposals[0]) == 0 and not torch.isfinite(sum(losses.values()))


@pytest.mark.parametrize("name", HEADS)
def test_learns_two_people(name):
    generator = _build(name, 0.3).train()
    gt = people([12, 20, 60, 110], [70, 30, 120, 90])
    optimizer = torch.optim.Adam(generator.parameters(), lr=0.003 if "Sparse" in name else 0.01)
    for _ in range(250 if "Sparse" in name else 80):
        _, losses = generator(images(1), features(1), [gt])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    generator.test_selection = generator.test_selection.__class__(0.05, 0.3, 10)
    (found,), _ = generator.eval()(images(1), features(1), None)
    best = box_iou(gt.gt_boxes.tensor, found.proposal_boxes.tensor[:2]).max(dim=1).values
    assert (best > 0.7).all(), best


@pytest.mark.parametrize("name, key", zip(HEADS, KEYS, strict=True))
def test_a_level_that_is_not_there_is_named(name, key):
    cfg = small_cfg(name)
    cfg.MODEL[key].IN_FEATURES = ["p3", "p4", "p9"]
    with pytest.raises(UserError, match=f"{key}.IN_FEATURES: the FPN gives no p9"):
        build_proposal_generator(cfg, shapes())
