"""The whole network: losses, detections, and batches that are hard to like."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling import build_model
from detectron2.structures import Boxes, ImageList, Instances
from tiny import fake_input, tiny_cfg

LOSSES = {"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr", "loss_action"}
HARD = {
    "nobody": [[]],
    "nobody beside somebody": [[], [[10, 10, 40, 60]]],
    "one pixel": [[[10, 10, 11, 11]]],
    "no area": [[[10, 10, 10, 40]]],
    "whole frame": [[[0, 0, 80, 64]]],
    "twelve people": [[[5 * i, 3, 5 * i + 20, 50] for i in range(12)]],
}


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    """A tiny model with seeded weights."""
    torch.manual_seed(0)
    return build_model(tiny_cfg())


@pytest.mark.parametrize("name", HARD)
def test_losses_are_finite_and_every_parameter_has_a_gradient(model: torch.nn.Module, name: str) -> None:
    model.train()
    model.zero_grad()
    losses = model([fake_input(boxes, seed=i) for i, boxes in enumerate(HARD[name])])
    assert set(losses) == LOSSES
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    for parameter_name, parameter in model.named_parameters():
        # DDP waits for the gradient of every parameter, even where a loss has nothing to learn.
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name


def test_clips_of_different_sizes_in_a_batch(model: torch.nn.Module) -> None:
    model.train()
    losses = model(
        [fake_input([[5, 5, 30, 50]], size=(64, 80)), fake_input([[5, 5, 30, 40]], size=(48, 101))]
    )
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last_3d])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_preprocessing(
    model: torch.nn.Module,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model, "memory_format", memory_format)
    clips = [torch.randint(0, 256, (3, 4, *size)).to(dtype) for size in ((64, 80), (50, 96), (64, 80))]
    given = [clip.clone() for clip in clips]
    images = model.preprocess(clips)
    assert images.image_sizes == [(64, 80), (50, 96), (64, 80)]
    assert images.tensor.shape[-2] % 16 == 0 and images.tensor.is_contiguous(memory_format=memory_format)
    want = ImageList.from_tensors(
        [(clip.float() - 114.75) / 57.375 for clip in clips], model.size_divisibility
    )
    assert torch.equal(images.tensor, want.tensor)
    # The clips belong to the caller.
    assert all(torch.equal(clip, kept) for clip, kept in zip(clips, given, strict=True))


def test_detections_are_in_the_original_frame(model: torch.nn.Module) -> None:
    model.eval()
    model.test_boxes = "gt"
    found = model([fake_input([[10, 12, 40, 60]])])[0]["instances"]
    model.test_boxes = "proposals"
    assert found.image_size == (128, 160)
    torch.testing.assert_close(found.pred_boxes.tensor, torch.tensor([[20.0, 24.0, 80.0, 120.0]]))
    assert found.pred_actions.shape == (1, 12) and found.scores.tolist() == [1.0]


def test_no_detection_gives_empty_fields_of_the_right_shape(model: torch.nn.Module) -> None:
    model.eval()
    found = model([fake_input([]), fake_input([[10, 12, 40, 60]])])
    assert found[0]["instances"].pred_actions.shape[1] == 12


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_any_number_of_external_boxes(model: torch.nn.Module, count: int) -> None:
    item = fake_input([[10, 12, 40, 60]])
    proposals = Instances((64, 80))
    corners = torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * 30
    proposals.proposal_boxes = Boxes(torch.cat([corners, corners + 20], dim=1))
    proposals.objectness_logits = torch.full((count,), 0.9)
    item["proposals"] = proposals
    model.eval()
    model.test_boxes = "external"
    found = model([item])[0]["instances"]
    model.test_boxes = "proposals"
    assert len(found) == count


def test_two_stage_baseline_has_no_detector() -> None:
    model = build_model(tiny_cfg("MODEL.PROPOSAL_GENERATOR.NAME", "PrecomputedProposals",
                                 "MODEL.ROI_ACTION_HEAD.TRAIN_BOXES", "gt"))  # fmt: skip
    assert model.fpn is None and model.proposal_generator is None
    assert set(model.train()([fake_input([[10, 12, 40, 60]])])) == {"loss_action"}


def test_pytorchs_initialisation_has_no_prior() -> None:
    by = {paper: build_model(tiny_cfg("MODEL.PAPER_INIT", paper)) for paper in (True, False)}
    for paper, model in by.items():
        bias = float(model.proposal_generator.head.cls_logits.bias.detach())
        assert (abs(bias + 4.595) < 0.01) == paper
        weight = model.roi_heads.predictor.classifier.weight
        # Xavier's bound against 1 / sqrt(fan in), PyTorch's for linear layers.
        bound = (6 / sum(weight.shape)) ** 0.5 if paper else weight.shape[1] ** -0.5
        assert 0.8 * bound < float(weight.detach().abs().max()) <= bound


def test_scores_of_a_clip_do_not_depend_on_its_batch(model: torch.nn.Module) -> None:
    model.eval()
    model.test_boxes = "gt"
    a, b = fake_input([[10, 12, 40, 60]], seed=1), fake_input([[20, 2, 60, 50], [0, 0, 30, 30]], seed=2)
    together = [x["instances"].pred_actions for x in model([a, b])]
    alone = [model([x])[0]["instances"].pred_actions for x in (a, b)]
    model.test_boxes = "proposals"
    for x, y in zip(together, alone, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)
