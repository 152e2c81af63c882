"""Exported files give what the eager detector gives, for any size and number of people, and run alone."""

from __future__ import annotations

import json
import os
import re
import resource
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from shared_data import shared_data
from tiny import CONFIG, EAGER, ROOT, SMALLER, tiny_cfg
from torch import Tensor, nn

from mestad_d2.data.toy.video import render_video
from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.export import files as export_files
from mestad_d2.inference.export.check import compare, eager_outputs
from mestad_d2.inference.export.files import clip_metadata, export, load_exported
from mestad_d2.inference.export.model import ExportableDetector, _bins
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.load_config import setup_cfg
from mestad_d2.video.clips import clip_tensor

NAMES = ActionNames({1: "walk", 2: "run"})
BLOCKED = ("detectron2", "mestad_d2", "torch", "torchvision", "cv2")


def spread_model(*opts: object) -> nn.Module:
    """A tiny untrained detector whose scores lie far enough apart to have one order."""
    torch.manual_seed(0)
    model = build_model(tiny_cfg(*EAGER, *opts)).eval()
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    with torch.no_grad():
        for layer in (model.proposal_generator.head.cls_logits, model.proposal_generator.head.centerness):
            layer.weight.mul_(100)
            layer.bias.zero_()
    return model


def noise(height: int, width: int, seed: int = 0) -> Tensor:
    """A clip (3, 4, H, W)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, 4, height, width), generator=generator, dtype=torch.uint8)


def exported_model(model: nn.Module, path: Path, format: str):
    """The function of a file that was traced with one 64 x 80 clip."""
    export(ExportableDetector(model), noise(64, 80), path, format, clip_metadata(tiny_cfg(), NAMES))
    return load_exported(path, format, threads=1)


def skip_without(format: str) -> None:
    """Skip where the optional packages are absent."""
    if format == "onnx":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def toy_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of toy people."""
    path = tmp_path_factory.mktemp("toy") / "toy.mp4"
    render_video(path, "toy", (3,), 15, 3)
    return path


@pytest.mark.parametrize("format", export_files.FORMATS)
@pytest.mark.parametrize("path_width", [0, 8])
def test_a_file_follows_size_and_number_of_people(tmp_path: Path, format: str, path_width: int) -> None:
    skip_without(format)
    model = spread_model(
        *("MODEL.PROPOSALS.SCORE_THRESH_TEST", 0.6, "MODEL.PROPOSALS.POST_NMS_TOPK_TEST", 40),
        *("MODEL.FPN.KEYFRAME_PATH.WIDTH", path_width),
    )
    exported = exported_model(model, tmp_path / "m", format)
    clips = [noise(64, 80, 1), noise(96, 64, 2), noise(61, 117, 3)]
    counts = {len(eager_outputs(model, clip)[0]) for clip in clips}
    parity = compare(model, exported, clips)
    assert len(counts) > 1 and parity.people > 3
    assert parity.holds, str(parity)


@pytest.mark.parametrize("format", export_files.FORMATS)
def test_nobody_is_an_answer(tmp_path: Path, format: str) -> None:
    skip_without(format)
    exported = exported_model(spread_model("MODEL.PROPOSALS.SCORE_THRESH_TEST", 1.0), tmp_path / "m", format)
    assert [x.shape for x in exported(noise(64, 96, 1))] == [(0, 4), (0,), (0, 12)]


@pytest.mark.parametrize(
    "opts",
    [
        ("MODEL.ROI_ACTION_HEAD.WITH_CONTEXT", True, "MODEL.ROI_ACTION_HEAD.SCORE_WITH_PERSON", False),
        ("MODEL.ROI_ACTION_HEAD.NAME", "ACRNActionHead", "MODEL.ROI_ACTION_HEAD.TEMPORAL_POOL", "max"),
        (
            "MODEL.PROPOSALS.NMS_THRESH_TEST",
            1.0,
            "MODEL.PROPOSALS.PRE_NMS_TOPK",
            5,
            "MODEL.FCOS.NORM_REG_TARGETS",
            False,
        ),
        ("MODEL.BACKBONE.NAME", "build_slowfast_backbone", "INPUT.CLIP.NUM_FRAMES", 16),
    ],
)
def test_the_traced_function_is_the_model(opts: tuple) -> None:
    model = spread_model(*opts)
    detector = ExportableDetector(model)
    clip = noise(70, 90, 5).repeat(1, 4 if "INPUT.CLIP.NUM_FRAMES" in opts else 1, 1, 1)
    parity = compare(model, lambda clip: [x.numpy() for x in detector(clip)], [clip])
    assert parity.holds and parity.people, str(parity)


@pytest.mark.parametrize(("length", "bins"), [(7, 7), (8, 3), (3, 7), (20, 4)])
def test_pooling_by_matrices_is_adaptive_pooling(length: int, bins: int) -> None:
    x = torch.randn(2, 1, length)
    wanted = nn.functional.adaptive_avg_pool1d(x, bins)
    torch.testing.assert_close(x @ _bins(length, bins, x.device).t(), wanted)


def real_parity(model: nn.Module, cfg, video: Path, exported) -> None:
    """Clips of a real file, through the same sampling as the predictor's."""
    clips = [clip_tensor(c.frames) for c in VideoPredictor(cfg, model).clips(str(video))][:3]
    parity = compare(model, exported, clips)
    assert parity.people and parity.holds, str(parity)


def test_parity_on_real_clips(tmp_path: Path, toy_video: Path) -> None:
    skip_without("onnx")
    model = spread_model()
    exported = exported_model(model, tmp_path / "m.onnx", "onnx")
    real_parity(model, tiny_cfg(), toy_video, exported)
    real_parity(model, tiny_cfg(), shared_data("ucf24_mini", "videos", "v_SalsaSpin_g03_c01.mp4"), exported)


def test_the_example_runs_alone(tmp_path: Path, toy_video: Path) -> None:
    skip_without("onnx")
    model = spread_model()
    exported = exported_model(model, tmp_path / "m.onnx", "onnx")
    script = ROOT / "examples" / "run_onnx.py"
    # None in sys.modules makes an import fail.
    code = (
        f"import sys, runpy; sys.modules.update(dict.fromkeys({BLOCKED!r}))\n"
        f"sys.argv = ['run_onnx.py', {str(tmp_path / 'm.onnx')!r}, {str(toy_video)!r}]\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 0, done.stderr
    row = re.compile(r"(\d+) s: person ([\d.]+) at ([-\d]+) ([-\d]+) ([-\d]+) ([-\d]+): (walk|run) ([\d.]+)")
    rows = [row.fullmatch(line) for line in done.stdout.splitlines()]
    assert rows and all(rows)
    clips = [clip_tensor(c.frames) for c in VideoPredictor(tiny_cfg(), model).clips(str(toy_video))]
    assert len(rows) == sum(len(exported(clip)[0]) for clip in clips)
    # Frames of the toy already have the short side of the config, so that no resizing comes between.
    scores = [float(f"{s:.2f}") for clip in clips for s in eager_outputs(model, clip)[1]]
    np.testing.assert_allclose([float(m[2]) for m in rows], scores, atol=0.02)


def test_a_file_says_how_its_clips_are_made(tmp_path: Path) -> None:
    exported_model(spread_model(), tmp_path / "m.pt", "torchscript")
    extra = {"mestad": ""}
    torch.jit.load(str(tmp_path / "m.pt"), _extra_files=extra)
    about = json.loads(extra["mestad"])
    assert about["offsets"] == pytest.approx([-8 / 30, -4 / 30, 0, 4 / 30])
    assert (about["short_side"], about["actions"]) == (128, {"1": "walk", "2": "run"})


def test_what_cannot_be_exported_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="MODEL.PROPOSAL_GENERATOR.NAME: a GFocalProposals"):
        model = build_model(tiny_cfg("MODEL.PROPOSAL_GENERATOR.NAME", "GFocalProposals"))
        ExportableDetector(model)
    detector = ExportableDetector(spread_model())
    with pytest.raises(UserError, match="no such folder"):
        export(detector, noise(64, 64), tmp_path / "none" / "m.onnx", "onnx", {})
    with pytest.raises(UserError, match="unknown"):
        export(detector, noise(64, 64), tmp_path / "m", "tflite", {})
    monkeypatch.setattr(export_files.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="onnx is not installed; pip install onnx"):
        export(detector, noise(64, 64), tmp_path / "m", "onnx", {})


def test_the_tool_compares(
    tmp_path: Path, toy_video: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = runpy.run_path(str(ROOT / "tools" / "export_model.py"))
    # An untrained model's people may swap places by rounding; the model is therefore given.
    monkeypatch.setitem(tool["main"].__wrapped__.__globals__, "load_model", lambda cfg: spread_model())
    flags = ["--config-file", str(CONFIG), "--format", "torchscript", "--output", str(tmp_path / "m.pt")]
    flags += ["--compare", str(toy_video), "--clips", "2", "--runs", "2", "--opts", *SMALLER, *EAGER]
    assert tool["main"](tool["parse"](flags)) == 0
    shown = capsys.readouterr().out
    assert re.search(r"parity on 2 clips with [1-9]\d* people: .*: ok", shown)
    assert re.search(r"eager [\d.]+ ms, torchscript [\d.]+ ms", shown)


@pytest.mark.parametrize("format", export_files.FORMATS)
def test_a_failed_or_killed_export_leaves_the_old_file(tmp_path: Path, format: str) -> None:
    skip_without(format)
    path = tmp_path / "m"
    path.write_text("before")
    detector = ExportableDetector(spread_model())
    with pytest.raises(TypeError), pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_files, "METADATA", None)
        export(detector, noise(64, 80), path, format, {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
        with pytest.raises(UserError, match="not written") as error:
            export(detector, noise(64, 80), path, format, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert "\n" not in str(error.value)
    assert path.read_text() == "before" and [p.name for p in tmp_path.iterdir()] == ["m"]
    # Killed at the last moment before the new file would take its place.
    killed = os.fork()
    if not killed:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "replace", lambda *names: os.kill(os.getpid(), signal.SIGKILL))
            export(detector, noise(64, 80), path, format, {})
    assert os.waitpid(killed, 0)[1] == signal.SIGKILL
    assert path.read_text() == "before"
    exported_model(spread_model(), path, format)
    assert [p.name for p in tmp_path.iterdir()] == ["m"] and path.read_bytes() != b"before"


def test_weights_beyond_the_limit_of_the_format_lie_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_without("onnx")
    path, model = tmp_path / "m.onnx", spread_model()
    monkeypatch.setattr(export_files, "EXTERNAL_BYTES", 1000)
    exported_model(model, path, "onnx")
    (first,) = tmp_path.glob("m.onnx.*.weights")
    (tmp_path / "m.onnx.mine.weights").write_text("of somebody else")
    exported = exported_model(model, path, "onnx")
    assert compare(model, exported, [noise(64, 80, 1)]).holds
    (second,) = set(tmp_path.glob("m.onnx.*.weights")) - {tmp_path / "m.onnx.mine.weights"}
    assert first != second and second.stat().st_size > 1000
    monkeypatch.setattr(export_files, "EXTERNAL_BYTES", 10**9)
    exported_model(model, path, "onnx")
    assert {p.name for p in tmp_path.iterdir()} == {"m.onnx", "m.onnx.mine.weights"}


@pytest.mark.slow
def test_full_size_slowfast(tmp_path: Path) -> None:
    skip_without("onnx")
    torch.manual_seed(0)
    opts = ["MODEL.WEIGHTS", "", "MODEL.DEVICE", "cpu", "MODEL.PROPOSALS.SCORE_THRESH_TEST", "0.001"]
    cfg = setup_cfg(ROOT / "configs" / "AVA-v2.2" / "SlowFast_R50_8x8.yaml", opts)
    model = build_model(cfg).eval()
    head = model.proposal_generator.head
    torch.nn.init.normal_(head.cls_logits.weight, std=0.3)
    clip = torch.randint(0, 256, (3, cfg.INPUT.CLIP.NUM_FRAMES, 256, 340), dtype=torch.uint8)
    export(ExportableDetector(model), clip[..., :320], tmp_path / "m.onnx", "onnx", {})
    parity = compare(model, load_exported(tmp_path / "m.onnx", "onnx"), [clip])
    assert parity.people and parity.holds, str(parity)
