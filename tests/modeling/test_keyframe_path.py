"""The key-frame path: sees one frame, reaches the person head alone, and learns where the backbone is frozen."""

from __future__ import annotations

import pytest
import torch
from detectron2.layers import ShapeSpec
from tiny import ROOT, fake_input, tiny_cfg
from torch import nn
from torch.nn import functional as F

from mestad_d2.analysis.cost import cost_of_config
from mestad_d2.errors import UserError
from mestad_d2.inference.speed.modes import SpeedMode, prepare_for_inference
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.build import build_detector
from mestad_d2.modeling.frozen_parts import freeze_parts
from mestad_d2.modeling.keyframe_path import KeyframePath
from mestad_d2.semisup.ema import ModelEMA

PATH = ("MODEL.FPN.KEYFRAME_PATH.WIDTH", 8)
BOXES = [[10, 10, 30, 60], [20, 5, 60, 50]]


def detector(*options: object) -> nn.Module:
    torch.manual_seed(0)
    return build_detector(tiny_cfg(*PATH, "MODEL.PROPOSALS.SCORE_THRESH_TEST", 0.0, *options))


def normalised(maps: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    """Batch norm in evaluation, written out."""
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return maps * scale[:, None, None] + (norm.bias - norm.running_mean * scale)[:, None, None]


def test_maps_are_those_of_residual_blocks_written_out() -> None:
    torch.manual_seed(0)
    path = KeyframePath({"res3": 8, "res4": 16, "res5": 16}, width=8).eval()
    for norm in (module for module in path.modules() if isinstance(module, nn.BatchNorm2d)):
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    frame = torch.randn(2, 3, 48, 64)
    with torch.no_grad():
        x = F.relu(normalised(F.conv2d(frame, path.stem.weight, stride=2, padding=1), path.stem.norm))
        wanted = {}
        for stride, (block,) in zip((4, 8, 16), path.stages, strict=True):
            inside = F.conv2d(x, block.conv1.weight, stride=2, padding=1)
            inside = F.conv2d(F.relu(normalised(inside, block.conv1.norm)), block.conv2.weight, padding=1)
            shortcut = normalised(F.conv2d(x, block.shortcut.weight, stride=2), block.shortcut.norm)
            x = wanted[stride] = F.relu(normalised(inside, block.conv2.norm) + shortcut)
        found = path(frame)
    assert list(found) == ["res3", "res4", "res5"] and found["res3"].shape == (2, 32, 6, 8)
    for name, stride in path.strides.items():
        torch.testing.assert_close(found[name], wanted[stride])
    shape = {"res2": ShapeSpec(channels=7, stride=4), "res3": ShapeSpec(channels=9, stride=8)}
    assert {k: v.channels for k, v in path.widened(shape).items()} == {"res2": 7, "res3": 41}


def test_only_the_key_frame_is_seen_and_only_by_the_person_head() -> None:
    model = detector().eval()
    item = fake_input(BOXES)
    images = model.preprocess([item["clip"]])
    features = model.backbone(images.tensor)
    before = model.pyramid(images.tensor, features)
    other, key = images.tensor.clone(), images.tensor.clone()
    other[:, :, [0, 1, 3]] += 1
    key[:, :, 2] += 1
    assert all(torch.equal(x, before[n]) for n, x in model.pyramid(other, features).items())
    assert not any(torch.equal(x, before[n]) for n, x in model.pyramid(key, features).items())
    actions = model.inference([item], test_boxes="gt")[0]["instances"].pred_actions
    plain = build_detector(tiny_cfg()).eval()
    plain.load_state_dict({n: v for n, v in model.state_dict().items() if n in plain.state_dict() and "fpn" not in n},
                          strict=False)  # fmt: skip
    assert torch.equal(plain.inference([item], test_boxes="gt")[0]["instances"].pred_actions, actions)


def test_it_learns_while_the_backbone_is_frozen() -> None:
    model = detector().train()
    freeze_parts(model, ["backbone", "roi_heads"])
    kept = {n: v.clone() for n, v in model.backbone.state_dict().items()}
    graphs = []
    model.backbone.register_forward_hook(
        lambda _, inputs, out: graphs.extend(x.requires_grad for maps in out.values() for x in maps)
    )
    batch = [fake_input(BOXES, seed=seed) for seed in range(2)]
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.01)
    losses = []
    for _ in range(4):
        loss = sum(model(batch).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss))
    # Nothing is kept for a backward pass through frozen layers.
    assert graphs and not any(graphs) and losses[-1] < losses[0]
    assert all(p.grad is not None and p.grad.any() for p in model.keyframe_path.parameters())
    assert all(torch.equal(v, kept[n]) for n, v in model.backbone.state_dict().items())
    assert all(n.running_mean.any() for n in model.keyframe_path.modules() if isinstance(n, nn.BatchNorm2d))


def test_a_teacher_averages_it() -> None:
    model = detector().train()
    freeze_parts(model, ["backbone"])
    teacher = ModelEMA(model, 0.9, ramp=False)
    before = {n: v.clone() for n, v in teacher.model.keyframe_path.state_dict().items()}
    with torch.no_grad():
        for value in model.keyframe_path.state_dict().values():
            value.add_(1)
    teacher.update(model)
    for name, value in teacher.model.keyframe_path.state_dict().items():
        assert (value > before[name]).all(), name


@pytest.mark.parametrize(
    "mode", [SpeedMode(fold_bn=True, channels_last=True), SpeedMode("bf16", channels_last=True)], ids=str
)
def test_speed_modes_give_what_eager_gives(mode: SpeedMode) -> None:
    model = detector("MODEL.PROPOSALS.NMS_THRESH_TEST", 1.0, "MODEL.FCOS.PRIOR_PROB", 0.5).eval()
    clip = model.preprocess([fake_input([], size=(61, 90))["clip"]]).tensor
    fast = prepare_for_inference(model, mode)
    with torch.no_grad():
        wanted, found = (net.pyramid(clip, net.backbone(clip)) for net in (model, fast))
    for name, x in wanted.items():
        assert found[name].dtype == torch.float32
        assert (found[name] - x).abs().max() < (0.02 if mode.precision == "bf16" else 1e-5) * x.abs().max()


def test_its_cost_is_below_two_percent() -> None:
    name = ROOT / "configs" / "AVA-v2.2" / "SlowFast_R50_8x8.yaml"
    cost = cost_of_config(setup_cfg(name, ["MODEL.FPN.KEYFRAME_PATH.WIDTH", "32"]), 256)
    # By hand: kernel area x channels in x channels out x places, and two operations an element of each norm.
    by_hand = (27 * 32 + 2 * 32) * 128**2
    for side, channels in ((64, 64), (32, 128), (16, 256)):
        by_hand += (9 * channels // 2 + 9 * channels + channels // 2 + 6) * channels * side**2
    assert cost["by_part"]["keyframe_path"] == pytest.approx(by_hand / 1e9, abs=0.001)
    # In its lateral convolutions the pyramid takes more channels (1.019 without: test_keyframe_fpn.py).
    more = (128 * 32**2 + 256 * 16**2) * 256 / 1e9
    assert cost["by_part"]["fpn"] == pytest.approx(1.019 + more, abs=0.003)
    assert cost["total_gflops"] < 1.02 * 104.7


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["WIDTH", -8], "WIDTH -8: give a multiple of 8"),
        (["WIDTH", 4], "WIDTH 4: give a multiple of 8"),
        (["WIDTH", 8, "BLOCKS", 0], "BLOCKS 0: give 1 or more"),
        (["WIDTH", 8, "NORM", "LN"], "use one of BN, SyncBN, GN"),
    ],
)
def test_wrong_settings_are_one_line(options: list, text: str) -> None:
    named = [f"MODEL.FPN.KEYFRAME_PATH.{v}" if i % 2 == 0 else v for i, v in enumerate(options)]
    with pytest.raises(UserError, match=text) as error:
        build_detector(tiny_cfg(*named))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("options", "channels"), [(("BLOCKS", 2), 32), (("NORM", "GN"), 32)])
def test_blocks_and_norms(options: tuple, channels: int) -> None:
    path = detector(f"MODEL.FPN.KEYFRAME_PATH.{options[0]}", options[1]).keyframe_path.train()
    assert path(torch.randn(1, 3, 32, 48))["res3"].shape == (1, channels, 4, 6)
    assert len(path.stages[0]) == (2 if options[0] == "BLOCKS" else 1)
    assert any(isinstance(m, nn.GroupNorm) for m in path.modules()) == (options[1] == "GN")
