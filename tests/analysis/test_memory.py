"""Memory of training, against tensors that are really kept."""

from __future__ import annotations

import runpy
import sys

import pytest
import torch
from detectron2.modeling import build_model
from tiny import CONFIG, ROOT, tiny_cfg
from torch._subclasses.fake_tensor import FakeTensorMode

from mestad_d2.analysis.memory import saved_bytes, training_memory
from mestad_d2.load_config import setup_cfg


def test_saved_tensors_of_a_layer_by_hand() -> None:
    """A convolution keeps its input and weight, ReLU its output."""
    model = torch.nn.Module()
    conv = torch.nn.Conv3d(3, 5, 1, bias=False)
    model.backbone = torch.nn.Sequential(conv, torch.nn.ReLU())
    model.proposal_generator = None
    clips = torch.rand(2, 3, 4, 6, 6, requires_grad=True)
    pixels = 2 * 4 * 6 * 6
    assert saved_bytes(model, clips, False) == 4 * (3 * pixels + 5 * pixels + 15)


@pytest.mark.parametrize("amp", [False, True])
def test_counting_without_running_equals_running(amp: bool) -> None:
    torch.manual_seed(0)
    model = build_model(tiny_cfg()).train()
    clips = torch.rand(2, 3, 4, 64, 96)
    real = saved_bytes(model, clips, amp)
    with FakeTensorMode(allow_non_fake_inputs=True):
        counted = saved_bytes(model, torch.empty(2, 3, 4, 64, 96), amp)
    assert counted == pytest.approx(real, rel=0.02)


def test_a_teacher_doubles_the_clips_and_adds_its_weights() -> None:
    plain, teacher = (
        training_memory(setup_cfg(ROOT / "configs" / "AVA-v2.2" / f"SlowOnly_R50_4x16{end}.yaml"), 2)
        for end in ("", "_TLA")
    )
    assert teacher["weights"] == pytest.approx(plain["weights"] * 4 / 3, rel=0.02)
    assert teacher["saved"] == pytest.approx(2 * plain["saved"], rel=0.1)
    path = ROOT / "configs" / "AVA-v2.2" / "SlowOnly_R50_4x16_TLA.yaml"
    average = training_memory(setup_cfg(path, ["SEMISUP.PSEUDO_LABELER", "EMA"]), 2)
    assert average["weights"] == teacher["weights"] and average["saved"] == plain["saved"]
    assert plain["total"] == pytest.approx(plain["weights"] + plain["saved"], abs=0.011)


@pytest.mark.parametrize(
    ("clips", "words"), [("2", "2 clips a GPU: at least 0.0"), ("0", "--clips 0: give at least 1")]
)
def test_the_command(
    clips: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    command = ["analyze_model.py", "--config-file", str(CONFIG), "--clips", clips, "--tasks", "memory"]
    monkeypatch.setattr(sys, "argv", command)
    try:
        runpy.run_path(str(ROOT / "tools" / "analyze_model.py"), run_name="__main__")
    except SystemExit as stop:
        assert stop.code == 2
    assert words in "".join(capsys.readouterr())
