"""The paper's models cost what they must when the head runs once (docs/fidelity: right column)."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import CONFIG, ROOT
from torch import Tensor, nn

from mestad_d2.analysis.cost import PAPER_PERSON_DETECTOR_GFLOPS, _gflops, chart_slices, cost_of_config
from mestad_d2.load_config import setup_cfg


@pytest.mark.parametrize(
    ("name", "size", "gflops"),
    [
        ("AVA-v2.2/SlowFast_R50_8x8", 256, 104.7),
        ("AVA-v2.2/SlowOnly_R50_4x16", 256, 49.1),
        pytest.param("AVA-v2.2/SlowFast_R50_8x8_320", 320, 163.6, marks=pytest.mark.slow),
        pytest.param("AVA-v2.2/SlowFast_R101-NL_8x8", 256, 154.5, marks=pytest.mark.slow),
        pytest.param("AVA-v2.2/SlowFast_R50_8x8_Res3-5", 256, 105.9, marks=pytest.mark.slow),
        pytest.param("AVA-v2.2/SlowFast_R50_8x8_Res2-4", 256, 126.8, marks=pytest.mark.slow),
    ],
)
def test_costs(name: str, size: int, gflops: float) -> None:
    cost = cost_of_config(setup_cfg(ROOT / "configs" / f"{name}.yaml"), size)
    assert cost["total_gflops"] == pytest.approx(gflops, rel=0.005)
    assert cost["total_gflops"] == pytest.approx(sum(cost["by_part"].values()), abs=0.01)


@pytest.mark.parametrize(
    ("name", "paper"),
    [
        ("woo_slowonly", 68.0),
        pytest.param("woo", 147.5, marks=pytest.mark.slow),
        pytest.param("woo_r101", 251.7, marks=pytest.mark.slow),
    ],
)
def test_woo_costs_what_the_paper_quotes_on_frames_of_320_by_416(name: str, paper: float) -> None:
    cost = cost_of_config(setup_cfg(ROOT / "configs" / "ablations" / "table1" / f"{name}.yaml"), (320, 416))
    assert cost["input"][1:] == [320, 416]
    assert cost["total_gflops"] == pytest.approx(paper, rel=0.03)


def test_parameters_of_slowfast() -> None:
    cfg = setup_cfg(ROOT / "configs" / "AVA-v2.2" / "SlowFast_R50_8x8.yaml")
    parts = cost_of_config(cfg, 64)["params_by_part"]
    assert parts["backbone"] == pytest.approx(33.64, abs=0.01)
    assert parts["fpn"] == pytest.approx(2.21, abs=0.01)
    assert parts["fcos_head"] == pytest.approx(4.74, abs=0.01)


def test_slices_of_the_two_stage_detector() -> None:
    cost = {"by_part": {"backbone": 97.3, "fpn": 1.0, "fcos_head": 6.4, "action_head": 0.1}}
    slices = chart_slices(cost)
    assert sum(slices["ours"].values()) == pytest.approx(104.8)
    assert sum(slices["two-stage"].values()) == pytest.approx(97.4 + PAPER_PERSON_DETECTOR_GFLOPS)


def analyze(*args: object) -> subprocess.CompletedProcess:
    """The command line, on the toy's model."""
    command = [sys.executable, "tools/analyze_model.py", "--config-file", CONFIG, *args]
    return subprocess.run([str(a) for a in command], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_command_writes_json_and_a_chart(tmp_path: Path) -> None:
    output, chart = tmp_path / "f.json", tmp_path / "f.png"
    done = analyze(
        "--output", output, "--chart", chart, "--input-size", 64, "--tasks", "flop", "parameter", "structure",
        "MODEL.FCOS.NUM_CONVS", 1,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cost = json.loads(output.read_text())
    assert set(cost["by_part"]) == {"backbone", "fpn", "fcos_head", "action_head"}
    assert cost["total_gflops"] == pytest.approx(sum(cost["by_part"].values()), abs=0.01)
    assert cost["params_millions"] > 0 and chart.read_bytes()[:4] == b"\x89PNG"
    assert "FCOSProposals" in done.stdout and "proposal_generator" in done.stdout


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--tasks", "flops"], "--tasks flops"),
        (["--tasks", "structure", "--output", "f.json"], "task flop"),
        (["--tasks", "flop", "MODEL.NOTHING", "1"], "MODEL.NOTHING"),
    ],
)
def test_mistakes_are_one_line(
    args: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(sys, "argv", ["analyze_model.py", "--config-file", str(CONFIG), *args])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "tools" / "analyze_model.py"), run_name="__main__")
    assert stop.value.code == 2 and words in capsys.readouterr().err.splitlines()[-1]


class Attention(nn.Module):
    """Attention of queries, keys and values, fused or as two products."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused = fused

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if self.fused:
            return nn.functional.scaled_dot_product_attention(query, key, value)
        return query @ key.transpose(2, 3) @ value


def test_fused_attention_counts_as_its_two_products() -> None:
    query, key, value = torch.rand(2, 3, 5, 8), torch.rand(2, 3, 7, 8), torch.rand(2, 3, 7, 4)
    counted = [_gflops(Attention(fused), query, key, value) for fused in (True, False)]
    assert counted[0] == counted[1] == 2 * 3 * 5 * 7 * (8 + 4) / 1e9
