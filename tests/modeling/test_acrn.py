"""The relation head against its unsplit form, and that no actor sees another."""

from __future__ import annotations

import torch
from tiny import tiny_cfg
from torch.nn import functional as F

from mestad_d2.modeling.roi_heads.acrn import ACRNActionHead
from mestad_d2.modeling.roi_heads.action_heads import build_action_predictor
from mestad_d2.modeling.roi_heads.video_roi_heads import action_loss

CHANNELS = 16


def head(*opts: object) -> ACRNActionHead:
    """In eval mode, for 12 classes."""
    torch.manual_seed(0)
    cfg = tiny_cfg("MODEL.ROI_ACTION_HEAD.NAME", "ACRNActionHead", *opts)
    return build_action_predictor(cfg, CHANNELS).eval()


def scene(actors: int = 5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Maps of actors, two frames, and whose frame is whose."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(actors, CHANNELS, 4, 4, generator=generator),
        torch.randn(2, CHANNELS, 5, 7, generator=generator),
        torch.arange(actors) % 2,
    )


def test_relations_equal_one_convolution_on_actor_and_scene_side_by_side() -> None:
    model = head("MODEL.ROI_ACTION_HEAD.ACRN_DIM", 8, "MODEL.ROI_ACTION_HEAD.ACRN_CONVS", 2)
    actors, frames, index = scene()
    weight = torch.cat([model.actor.weight[:, :, None, None], model.scene.weight], dim=1)
    for row, clip in enumerate(index.tolist()):
        vector = actors[row].amax(dim=(1, 2))[:, None, None].expand(-1, 5, 7)
        beside = torch.cat([vector, frames[clip]])[None]
        expected = model.gather(model.norm(F.conv2d(beside, weight, model.scene.bias)).relu())
        torch.testing.assert_close(model.relations(actors, frames, index)[row], expected[0])


def test_shapes_and_gradients_and_no_actor_at_all() -> None:
    model = head().train()
    actors, frames, index = scene()
    frames.requires_grad_()
    logits = model(actors, frames, index)
    assert logits.shape == (5, 12) and model.scene.out_channels == CHANNELS // 4
    logits.sum().backward()
    assert frames.grad.abs().sum() > 0 and all(p.grad is not None for p in model.parameters())
    assert model(actors[:0], frames, index[:0]).shape == (0, 12)


def test_an_order_of_actors_is_the_order_of_logits_and_none_sees_another() -> None:
    model = head()
    actors, frames, index = scene()
    logits = model(actors, frames, index)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(model(actors[order], frames, index[order]), logits[order])
    torch.testing.assert_close(model(actors[3:4], frames, index[3:4]), logits[3:4])


def test_the_rest_of_the_frame_matters_but_not_the_other_clip() -> None:
    model = head()
    actors, frames, index = scene()
    changed = frames.clone()
    changed[0] += torch.randn(frames[0].shape, generator=torch.Generator().manual_seed(3))
    difference = (model(actors, changed, index) - model(actors, frames, index)).abs().amax(dim=1)
    assert (difference[index == 0] > 1e-4).all() and (difference[index == 1] == 0).all()


def test_focal_form_of_the_action_loss_by_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    targets = (torch.rand(6, 4, generator=generator) > 0.5).double()
    wanted = torch.where(targets > 0, logits.sigmoid(), 1 - logits.sigmoid())
    expected = (-3 * (1 - wanted) ** 2 * wanted.log()).mean()
    torch.testing.assert_close(
        action_loss(logits, targets, 2.0, 3.0).double(), expected, rtol=1e-5, atol=1e-6
    )
