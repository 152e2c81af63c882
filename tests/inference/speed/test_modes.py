"""Every speed mode gives what eager float32 gives, and leaves the model that it is given alone."""

from __future__ import annotations

import argparse
import copy
import itertools
import logging

import pytest
import torch
from detectron2.modeling import build_model
from shared_data import shared_data
from tiny import ROOT, fake_input, tiny_cfg
from torch import nn

from mestad_d2.benchmarks.mode_accuracy import accuracy_of_modes
from mestad_d2.errors import UserError
from mestad_d2.inference.arguments import add_speed_arguments, mode_of_arguments
from mestad_d2.inference.predictor import VideoPredictor, clip_tensor
from mestad_d2.inference.speed import compiled
from mestad_d2.inference.speed import modes as speed
from mestad_d2.inference.speed.folding import fold_batch_norm
from mestad_d2.inference.speed.modes import SpeedMode, default_mode, prepare_for_inference
from mestad_d2.load_config import setup_cfg

# Largest difference to eager float32: pixels of 128-pixel clips, person scores, action scores.
TOLERANCE = {"fp32": (0.01, 1e-4, 1e-4), "bf16": (0.5, 0.005, 0.005)}
MODES = [
    SpeedMode("fp32", fold_bn=True),
    SpeedMode("fp32", fold_bn=True, channels_last=True),
    SpeedMode("bf16", channels_last=True),
    SpeedMode("bf16", fold_bn=True, channels_last=True),
]


def with_statistics(model: nn.Module) -> nn.Module:
    """Batch norms that do something, as after training."""
    generator = torch.Generator().manual_seed(1)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm3d)):
        norm.running_mean.normal_(0, 0.2, generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
        norm.weight.data.uniform_(0.5, 1.5, generator=generator)
        norm.bias.data.normal_(0, 0.2, generator=generator)
    return model


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A detector that reports all of its locations, so that no threshold or NMS hides a difference."""
    torch.manual_seed(0)
    options = ("SCORE_THRESH_TEST", -1.0, "NMS_THRESH_TEST", 1.0, "POST_NMS_TOPK_TEST", 10000)
    options = [f"MODEL.PROPOSALS.{v}" if i % 2 == 0 else v for i, v in enumerate(options)]
    cfg = tiny_cfg("MODEL.VIDEO_RESNET.WIDTH", 8, "MODEL.FCOS.PRIOR_PROB", 0.5, *options)
    model = with_statistics(build_model(cfg)).eval()
    # Boxes of a few strides: those without area would be dropped.
    nn.init.constant_(model.proposal_generator.head.distances.bias, 2.0)
    return model


@pytest.fixture(scope="module")
def real_clips() -> list[dict]:
    videos = sorted(shared_data("ucf24_mini").rglob("*.avi")) + sorted(
        shared_data("ucf24_mini").rglob("*.mp4")
    )
    if not videos:
        pytest.skip("no videos in ucf24_mini")
    predictor = VideoPredictor(tiny_cfg("INPUT.CLIP.NUM_FRAMES", 8), nn.Identity())
    clips = [clip_tensor(clip.frames) for clip in itertools.islice(predictor.clips(videos[0]), 2)]
    return [{"clip": clip, "height": clip.shape[2], "width": clip.shape[3]} for clip in clips]


def furthest(a: torch.Tensor, b: torch.Tensor) -> float:
    """Largest distance from a row of ``a`` (N, D), or of ``b``, to the nearest one of the other."""
    distances = torch.cdist(a, b, p=float("inf"))
    return float(torch.maximum(distances.amin(0).max(), distances.amin(1).max()))


def assert_alike(found: list[dict], wanted: list[dict], precision: str) -> None:
    pixels, person, action = TOLERANCE[precision]
    for one, other in zip(found, wanted, strict=True):
        rows = [
            torch.cat(
                [x.pred_boxes.tensor / pixels, x.scores[:, None] / person, x.pred_actions / action], dim=1
            )
            for x in (one["instances"], other["instances"])
        ]
        assert rows[0].dtype == torch.float32
        assert len(rows[0]) == len(rows[1]) > 50
        # Everything is in units of its tolerance.
        assert furthest(*rows) <= 1


@pytest.mark.parametrize("mode", MODES, ids=str)
def test_modes_agree_with_eager_on_a_real_clip(
    model: nn.Module, real_clips: list[dict], mode: SpeedMode
) -> None:
    assert_alike(prepare_for_inference(model, mode)(real_clips), model(real_clips), mode.precision)


def test_a_small_net_is_compiled_for_one_batch_size() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv3d(3, 4, 1), nn.ReLU()).requires_grad_(False)
    backbone = compiled.CompiledBackbone(net)
    clips = torch.randn(2, 3, 2, 4, 4)
    with torch.no_grad():
        torch.testing.assert_close(backbone(clips), net(clips))
        torch.testing.assert_close(backbone(clips[:1]), net(clips[:1]))
    assert backbone.works
    # A smaller batch is not worth a compilation.
    assert list(backbone.sizes.values()) == [2 * clips.shape[2]]
    if torch.backends.mkldnn.is_available():
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            backbone(clips)
        # Weights are constants of the compiled graph, or oneDNN would lay them out anew for every clip.
        assert any("_convolution_pointwise" in event.name for event in profile.events())


@pytest.mark.slow
def test_map_of_modes_is_that_of_eager(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = ROOT / "output" / "demo" / "run" / "model_final.pth"
    if not weights.exists() or not (ROOT / "datasets" / "toy").exists():
        pytest.skip("needs the toy data set and its detector: run `make demo`")
    monkeypatch.chdir(ROOT)
    cfg = setup_cfg(
        ROOT / "configs" / "toy" / "demo.yaml",
        ["MODEL.WEIGHTS", str(weights), "MODEL.DEVICE", "cpu"],
    )
    eager, *fast = accuracy_of_modes(
        cfg, [SpeedMode("fp32", fold_bn=True, channels_last=True), MODES[-1]]
    ).values()
    for figures in fast:
        assert figures["frame_map_percent"] == pytest.approx(eager["frame_map_percent"], abs=0.3)
        assert figures["person_ap50_percent"] == pytest.approx(eager["person_ap50_percent"], abs=0.3)


@pytest.mark.slow
def test_compiled_agrees_with_eager(model: nn.Module, real_clips: list[dict]) -> None:
    mode = SpeedMode("bf16", fold_bn=True, channels_last=True, compile=True)
    fast = prepare_for_inference(model, mode)
    assert_alike(fast(real_clips), model(real_clips), mode.precision)
    assert fast.backbone.works
    # A smaller batch is not worth a compilation.
    assert_alike(fast(real_clips[:1]), model(real_clips[:1]), mode.precision)
    assert list(fast.backbone.sizes.values()) == [len(real_clips) * real_clips[0]["clip"].shape[1]]


def test_the_model_is_left_alone(model: nn.Module) -> None:
    before = copy.deepcopy(model.state_dict())
    layout = [p.stride() for p in model.parameters()]
    fast = prepare_for_inference(model, SpeedMode("bf16", fold_bn=True, channels_last=True))
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) and before[k].dtype == after[k].dtype for k in before)
    assert layout == [p.stride() for p in model.parameters()]
    assert all(p.requires_grad for p in model.parameters())
    assert not any(p.requires_grad for p in fast.parameters())


@pytest.mark.parametrize("config", ["SlowFast_R50_8x8", "SlowFast_R101-NL_8x8"])
def test_all_norms_of_a_backbone_are_folded(config: str) -> None:
    small = ["MODEL.VIDEO_RESNET.WIDTH", "8", "MODEL.DEVICE", "cpu"]
    backbone = build_model(setup_cfg(ROOT / "configs" / "AVA-v2.2" / f"{config}.yaml", small)).backbone.eval()
    with_statistics(backbone)
    clips = torch.randn(1, 3, 16, 32, 32)
    with torch.no_grad():
        wanted = backbone(clips)
        count = sum(isinstance(m, nn.BatchNorm3d) for m in backbone.modules())
        assert fold_batch_norm(backbone) == count
        found = backbone(clips)
    for name, pathways in wanted.items():
        for x, y in zip(pathways, found[name], strict=True):
            torch.testing.assert_close(y, x, rtol=1e-4, atol=1e-4 * float(x.abs().max()))


class Twice(nn.Module):
    """Neither of its norms may be folded: one convolution is used twice, the other's output is too."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm_a = nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3)
        self.b, self.norm_b = nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm_a(self.a(self.a(x)))
        y = self.b(x)
        return self.norm_b(y) + y


def test_what_is_used_twice_is_not_folded() -> None:
    module = with_statistics(Twice()).eval()
    x = torch.randn(1, 3, 2, 4, 4)
    wanted = module(x)
    assert fold_batch_norm(module) == 0
    torch.testing.assert_close(module(x), wanted)


def test_no_compiler_is_one_warning(
    model: nn.Module, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(function: object, **_: object):
        def run(clips: torch.Tensor) -> None:
            raise RuntimeError("No working C++ compiler found\nlong explanation")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    fast = prepare_for_inference(model, SpeedMode(compile=True))
    inputs = [fake_input([])]
    with caplog.at_level(logging.WARNING, logger=compiled.__name__):
        for _ in range(3):
            assert_alike(fast(inputs), model(inputs), "fp32")
    assert [r.getMessage() for r in caplog.records] == [
        "the backbone runs uncompiled: No working C++ compiler found"
    ]


def test_only_a_few_sizes_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        torch, "compile", lambda f, **_: lambda clips: seen.append(tuple(clips.shape)) or f(clips)
    )
    backbone = compiled.CompiledBackbone(nn.Conv3d(3, 1, 1))
    for width in range(1, 9):
        backbone(torch.zeros(2, 3, 1, 1, width))
    backbone(torch.zeros(1, 3, 1, 1, 1))
    assert seen == [(2, 3, 1, 1, width) for width in range(1, compiled.MAX_SIZES + 1)]


@pytest.mark.parametrize(
    ("device", "has_bf16", "precision"),
    [("cpu", True, "bf16"), ("cpu", False, "fp32"), ("cuda", False, "fp16")],
)
def test_defaults(monkeypatch: pytest.MonkeyPatch, device: str, has_bf16: bool, precision: str) -> None:
    monkeypatch.setattr(speed, "cpu_has_bf16", lambda: has_bf16)
    assert default_mode(device) == SpeedMode(precision, fold_bn=True, channels_last=True)
    parser = argparse.ArgumentParser()
    add_speed_arguments(parser)
    assert mode_of_arguments(parser.parse_args([]), device) == default_mode(device)
    chosen = mode_of_arguments(
        parser.parse_args(["--precision", "fp32", "--no-fold-bn", "--compile"]), device
    )
    assert chosen == SpeedMode("fp32", channels_last=True, compile=True)


def test_precisions_that_can_not_be_are_clear_errors(model: nn.Module) -> None:
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        prepare_for_inference(model, SpeedMode("fp16"))
    with pytest.raises(UserError, match="int8"):
        prepare_for_inference(model, SpeedMode("int8"))
