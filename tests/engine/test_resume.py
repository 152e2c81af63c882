"""A run that is interrupted and resumed sees the same clips and has the same losses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine.short_runs import run
from tiny import tiny_cfg

from mestad_d2.engine import build_trainer
from mestad_d2.errors import UserError


@pytest.fixture(autouse=True)
def _datasets(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))


def train(output: Path, iterations: int, resume: bool = False, stop: int | None = None) -> list[float]:
    """Total losses of a run; ``stop`` interrupts it after so many iterations, a checkpoint behind it."""
    cfg = tiny_cfg("OUTPUT_DIR", output, "SOLVER.MAX_ITER", iterations, "SOLVER.CHECKPOINT_PERIOD", 2,
                   "DATASETS.TEST", "()", "MODEL.ROI_ACTION_HEAD.DROPOUT", 0.5)  # fmt: skip
    return [step["total_loss"] for step in run(cfg, resume, stop)[1]]


def test_resumed_losses_equal_the_uninterrupted_run(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", 6)
    first = train(tmp_path / "cut", 6, stop=5)
    # The last checkpoint holds four iterations; the fifth is done again.
    rest = train(tmp_path / "cut", 6, resume=True)
    assert first == pytest.approx(whole[:5], abs=1e-6)
    assert rest == pytest.approx(whole[4:], abs=1e-6)


def test_truncated_checkpoint_falls_back_to_the_one_before(tmp_path: Path) -> None:
    train(tmp_path, 6, stop=5)
    last = tmp_path / (tmp_path / "last_checkpoint").read_text()
    last.write_bytes(last.read_bytes()[:1000])
    assert len(train(tmp_path, 6, resume=True)) == 4


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    trainer = build_trainer(tiny_cfg("OUTPUT_DIR", tmp_path, "MODEL.WEIGHTS", tmp_path / "none.pth"))
    with pytest.raises(UserError, match="none.pth"):
        trainer.resume_or_load(resume=False)


def test_checkpoints_hold_plain_values_only(tmp_path: Path) -> None:
    train(tmp_path, 2)
    state = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert {"model", "trainer", "iteration"} <= set(state)
