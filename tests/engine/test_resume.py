"""A run that is interrupted and resumed sees the same clips and has the same losses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from detectron2.utils.env import seed_all_rng
from tiny import tiny_cfg

from mestad_d2.data.toy import make_toy
from mestad_d2.engine import build_trainer
from mestad_d2.errors import UserError


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy dataset of a few seconds."""
    root = tmp_path_factory.mktemp("datasets")
    make_toy(root / "toy", seed=0, videos=2, val_videos=1, seconds=6)
    return root


def train(output: Path, iterations: int, resume: bool = False, stop: int | None = None) -> list[float]:
    """Total losses of a run; ``stop`` interrupts it after so many iterations, a checkpoint behind it."""
    cfg = tiny_cfg("OUTPUT_DIR", output, "SOLVER.MAX_ITER", iterations, "SOLVER.CHECKPOINT_PERIOD", 2,
                   "DATASETS.TEST", "()", "MODEL.ROI_ACTION_HEAD.DROPOUT", 0.5)  # fmt: skip
    seed_all_rng(7)
    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=resume)
    losses = []
    run_step = trainer._trainer.run_step

    def recorded() -> None:
        run_step()
        losses.append(trainer.storage.latest()["total_loss"][0])
        if stop is not None and len(losses) == stop:
            raise KeyboardInterrupt

    trainer._trainer.run_step = recorded
    try:
        trainer.train()
    except KeyboardInterrupt:
        pass
    return losses


def test_resumed_losses_equal_the_uninterrupted_run(
    datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))
    whole = train(tmp_path / "whole", 6)
    first = train(tmp_path / "cut", 6, stop=5)
    # The last checkpoint holds four iterations; the fifth is done again.
    rest = train(tmp_path / "cut", 6, resume=True)
    assert first == pytest.approx(whole[:5], abs=1e-6)
    assert rest == pytest.approx(whole[4:], abs=1e-6)


def test_truncated_checkpoint_falls_back_to_the_one_before(
    datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))
    train(tmp_path, 6, stop=5)
    last = tmp_path / (tmp_path / "last_checkpoint").read_text()
    last.write_bytes(last.read_bytes()[:1000])
    assert len(train(tmp_path, 6, resume=True)) == 4


def test_missing_weights_are_one_line(
    datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))
    trainer = build_trainer(tiny_cfg("OUTPUT_DIR", tmp_path, "MODEL.WEIGHTS", tmp_path / "none.pth"))
    with pytest.raises(UserError, match="none.pth"):
        trainer.resume_or_load(resume=False)


def test_checkpoints_hold_plain_values_only(
    datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(datasets))
    train(tmp_path, 2)
    state = torch.load(tmp_path / "model_final.pth", weights_only=True)
    assert {"model", "trainer", "iteration"} <= set(state)
