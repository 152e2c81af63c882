"""The benchmark of one pass runs both modes on one film, and the GPU's says where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny import CONFIG, SMALLER

from mestad_d2.benchmarks import gpu, one_pass
from mestad_d2.errors import UserError


def test_both_modes_see_the_same_film(tmp_path: Path) -> None:
    output = tmp_path / "figures.json"
    one_pass.main(
        [
            "--config-file",
            str(CONFIG),
            "--seconds",
            "2",
            "--rates",
            "2",
            "--runs",
            "2",
            "--output",
            str(output),
        ]
        + ["--opts", *SMALLER]
    )
    figures = json.loads(output.read_text())["2 a second"]
    assert figures["key_frames"]["clip"] == figures["key_frames"]["pass"] in (4, 5)
    for clock in ("wall", "processor"):
        low, high = figures[clock]["quartiles"]
        assert 0 < low <= figures[clock]["clip / pass"] <= high
    assert figures["film_seconds_a_second"]["pass"] == pytest.approx(2 / figures["wall"]["pass"], rel=0.01)


def test_senseless_numbers_and_no_gpu_are_one_line() -> None:
    with pytest.raises(UserError, match="--runs must be at least 0"):
        one_pass.main(["--config-file", str(CONFIG), "--runs", "-1"])
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="no GPU that torch can use"):
            gpu.main([])
