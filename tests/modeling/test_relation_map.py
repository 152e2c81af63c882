"""Heads of published detectors: the relation map against its unsplit form, hidden layers, one action a person."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes
from tiny import fake_input, tiny_cfg
from torch.nn import functional as F

from mestad_d2.errors import UserError
from mestad_d2.modeling.roi_heads.action_heads import build_action_predictor
from mestad_d2.modeling.roi_heads.video_roi_heads import exclusive_action_loss

CHANNELS = 16


def test_the_map_equals_layers_on_actor_and_scene_side_by_side() -> None:
    torch.manual_seed(0)
    cfg = tiny_cfg(
        "MODEL.ROI_ACTION_HEAD.NAME", "RelationMapActionHead", "MODEL.ROI_ACTION_HEAD.ACRN_CONVS", 2
    )
    head = build_action_predictor(cfg, CHANNELS)
    actors, frames = torch.randn(5, CHANNELS, 4, 4), torch.randn(2, CHANNELS, 5, 7)
    index = torch.arange(5) % 2
    head(actors, frames, index)  # moves the statistics away from 0 and 1
    head.eval()
    vectors = actors.amax(dim=(2, 3))[:, :, None, None].expand(-1, -1, 5, 7)
    x = torch.cat([vectors, frames[index]], dim=1).unsqueeze(2)
    for layer in head.relation.values():
        x = layer(x)
    want = F.linear(x.squeeze(2).amax(dim=(2, 3)), head.linear.classifier.weight, head.linear.classifier.bias)
    torch.testing.assert_close(head(actors, frames, index), want)
    head.train()(actors, frames, index).sum().backward()
    assert all(p.grad is not None for p in head.parameters())
    assert head.eval()(actors[:0], frames, index[:0]).shape == (0, 12)


def test_hidden_layers_stand_before_the_classifier() -> None:
    torch.manual_seed(0)
    head = build_action_predictor(tiny_cfg("MODEL.ROI_ACTION_HEAD.HIDDEN_LAYERS", 1), CHANNELS).eval()
    actors, frames = torch.randn(3, CHANNELS, 4, 4), torch.randn(1, CHANNELS, 5, 7)
    hidden, last = head.hidden[0], head.classifier
    x = F.linear(actors.amax(dim=(2, 3)), hidden.weight, hidden.bias).clamp(min=0)
    want = x @ last.weight.T + last.bias
    torch.testing.assert_close(head(actors, frames, torch.zeros(3, dtype=torch.long)), want)


def test_with_softmax_a_persons_scores_sum_to_one_and_the_loss_is_cross_entropy() -> None:
    torch.manual_seed(0)
    opts = ("MODEL.ROI_ACTION_HEAD.ACTIVATION", "softmax", "MODEL.ROI_ACTION_HEAD.TEST_BOXES", "gt")
    model = build_model(tiny_cfg(*opts)).eval()
    scores = model([fake_input([[5, 5, 40, 60], [30, 4, 78, 62]])])[0]["instances"].pred_actions
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(2))
    logits, actions = torch.randn(4, 12), torch.tensor([1, 0, 7, 11])
    loss = exclusive_action_loss(logits, torch.eye(12)[actions])
    torch.testing.assert_close(loss, F.cross_entropy(logits, actions))
    empty = exclusive_action_loss(torch.zeros(0, 12, requires_grad=True), torch.zeros(0, 12))
    assert float(empty.detach()) == 0 and empty.requires_grad


def test_an_unknown_activation_is_one_line() -> None:
    with pytest.raises(UserError, match="use sigmoid or softmax"):
        build_model(tiny_cfg("MODEL.ROI_ACTION_HEAD.ACTIVATION", "tanh"))


@pytest.mark.parametrize(("aligned", "shift"), [(True, 0.0), (False, 8.0)])
def test_an_unaligned_roi_lies_half_a_cell_beside_an_aligned_one(aligned: bool, shift: float) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg("MODEL.ROI_ACTION_HEAD.POOLER_ALIGNED", aligned)).eval()
    reference = build_model(tiny_cfg()).eval()
    frames, box = torch.randn(1, 4, 8, 8), torch.tensor([[20.0, 24.0, 70.0, 90.0]])
    # Half a cell of stride 16 is 8 pixels.
    want = reference.roi_heads.pooler([frames], [Boxes(box + shift)])
    torch.testing.assert_close(model.roi_heads.pooler([frames], [Boxes(box)]), want)
