"""One folder, one run; what changed since a checkpoint is told or refused; a failing evaluation loses nothing."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectron2.config import CfgNode
from engine.short_runs import run
from tiny import ROOT, tiny_cfg

from mestad_d2.engine import build_trainer, run_folder
from mestad_d2.engine.train_step import MAX_DUMPS, MAX_SKIPPED_IN_ROW, NonFiniteLossError
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.errors import UserError


@pytest.fixture(autouse=True)
def _datasets(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))


def cfg_of(output: Path, *opts: object) -> CfgNode:
    """A run of four iterations with a checkpoint every two."""
    return tiny_cfg("OUTPUT_DIR", output, "SOLVER.MAX_ITER", 4, "SOLVER.CHECKPOINT_PERIOD", 2,
                    "DATASETS.TEST", "()", "SEED", 5, *opts)  # fmt: skip


HOLD = """
import sys
from mestad_d2.engine import run_folder
run_folder.hold(sys.argv[1])
print("held", flush=True)
input()
"""


def test_a_folder_is_one_runs_and_is_free_when_that_run_is_killed(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", HOLD, str(tmp_path)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert other.stdout.readline() == "held\n"
        trainer = build_trainer(cfg_of(tmp_path))
        for _ in range(2):
            with pytest.raises(
                UserError, match=rf"OUTPUT_DIR: {tmp_path} is in use by .*; end that run or give"
            ):
                trainer.resume_or_load(resume=False)
        other.kill()
        other.wait()
        trainer.resume_or_load(resume=False)
        # A second time in the same process changes nothing.
        run_folder.hold(tmp_path)
    finally:
        other.kill()
        run_folder.release(tmp_path)


def test_a_folder_that_is_a_file_or_read_only_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        with pytest.raises(UserError, match="can't be written"):
            run_folder.hold(place)


def test_a_folder_that_vanishes_is_made_anew(tmp_path: Path) -> None:
    trainer = build_trainer(cfg_of(tmp_path / "out"))
    trainer.resume_or_load(resume=False)
    step = trainer._trainer.run_step

    def removing() -> None:
        step()
        if trainer.iter == 2:
            shutil.rmtree(tmp_path / "out")

    trainer._trainer.run_step = removing
    trainer.train()
    again = build_trainer(cfg_of(tmp_path / "out"))
    again.resume_or_load(resume=True)
    assert again.start_iter == 4 and (tmp_path / "out" / "model_final.pth").is_file()


def test_a_new_run_in_an_old_folder_is_not_resumed_from_the_old_one(tmp_path: Path) -> None:
    run(cfg_of(tmp_path))
    # Killed before its first checkpoint.
    run(cfg_of(tmp_path), stop=1)
    assert (tmp_path / "model_final.pth").is_file()
    trainer, losses = run(cfg_of(tmp_path), resume=True)
    assert trainer.start_iter == 0 and len(losses) == 4
    # What that run saved is its own.
    assert run(cfg_of(tmp_path, "SOLVER.MAX_ITER", 6), resume=True)[0].start_iter == 4


def test_a_lost_tag_never_starts_anew(tmp_path: Path) -> None:
    run(cfg_of(tmp_path), stop=3)
    (tmp_path / "last_checkpoint").unlink()
    assert run(cfg_of(tmp_path), resume=True)[0].start_iter == 2


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("SOLVER.OPTIMIZER", "SGD", "SOLVER.OPTIMIZER: the checkpoint has 'AdamW', now it is 'SGD'"),
        ("MODEL.ROI_ACTION_HEAD.NUM_CLASSES", 13, "MODEL.ROI_ACTION_HEAD.NUM_CLASSES: the checkpoint has 12"),
        ("MODEL.VIDEO_RESNET.WIDTH", 8, "MODEL.VIDEO_RESNET.WIDTH: the checkpoint has 4"),
        ("SEED", 6, "SEED: the checkpoint has 5"),
        ("DATASETS.TRAIN", "('toy_val',)", "DATASETS.TRAIN: the checkpoint has"),
    ],
)
def test_a_change_that_makes_the_rest_meaningless(tmp_path: Path, key: str, value: object, said: str) -> None:
    run(cfg_of(tmp_path), stop=3)
    changed = cfg_of(tmp_path, key, value)
    with pytest.raises(UserError) as error:
        build_trainer(changed).resume_or_load(resume=True)
    assert (
        said in str(error.value) and "--accept-changes" in str(error.value) and "\n" not in str(error.value)
    )
    run_folder.release(tmp_path)
    trainer = build_trainer(changed)
    trainer.resume_or_load(resume=True, accept_changes=True)
    assert trainer.start_iter == 2
    trainer.train()


def test_another_optimiser_without_notes_is_one_line(tmp_path: Path) -> None:
    """Checkpoints of earlier versions have no config in them."""
    run(cfg_of(tmp_path), stop=3)
    path = tmp_path / "model_0000001.pth"
    content = torch.load(path, weights_only=True)
    for key in ("config", "data", "digest"):
        content.pop(key)
    torch.save(content, path)
    with pytest.raises(
        UserError, match=r"optimiser is AdamW, the config says SGD; resume with SOLVER\.OPTIM"
    ):
        build_trainer(cfg_of(tmp_path, "SOLVER.OPTIMIZER", "SGD")).resume_or_load(resume=True)
    run_folder.release(tmp_path)


def test_changed_labels_and_videos_are_told(
    tmp_path: Path, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(toy, tmp_path / "data")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "data"))
    run(cfg_of(tmp_path / "run"), stop=3)
    # Another place and other times of the files are no change.
    moved = tmp_path / "moved"
    shutil.copytree(tmp_path / "data", moved, copy_function=shutil.copyfile)
    monkeypatch.setenv("DETECTRON2_DATASETS", str(moved))

    def resume(**options: bool) -> int:
        trainer = build_trainer(cfg_of(tmp_path / "run"))
        try:
            trainer.resume_or_load(resume=True, **options)
        finally:
            run_folder.release(tmp_path / "run")
        return trainer.start_iter

    assert resume() == 2
    video = sorted((moved / "toy" / "videos").glob("toy_train*"))[0]
    content = video.read_bytes()
    video.write_bytes(content + b"more")
    with pytest.raises(UserError, match="--resume: videos of toy_train: "):
        resume()
    assert resume(accept_changes=True) == 2
    video.write_bytes(content)
    labels = moved / "toy" / "annotations" / "train.csv"
    labels.write_text("".join(labels.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match="--resume: labels of toy_train: "):
        resume()


def test_a_teacher_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    cfg = cfg_of(tmp_path, "SEMISUP.ENABLED", True, "SEMISUP.BURN_IN_ITERS", 1, "SOLVER.MAX_ITER", 8)
    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=False)
    update = trainer._trainer.ema.update

    def spoil(student: torch.nn.Module) -> None:
        update(student)
        if trainer.iter >= 2:
            next(trainer.teacher.parameters()).data.fill_(float("nan"))

    trainer._trainer.ema.update = spoil
    with pytest.raises(UserError, match=r"not saved, because .*teacher.* is no longer finite; the last good"):
        trainer.train()
    assert [path.name for path in tmp_path.glob("model_*")] == ["model_0000001.pth"]


@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_a_new_rate_and_decay_are_used(
    tmp_path: Path, optimizer: str, caplog: pytest.LogCaptureFixture
) -> None:
    same = ("SOLVER.OPTIMIZER", optimizer, "SOLVER.WARMUP_ITERS", 0, "SOLVER.MAX_ITER", 8)
    run(cfg_of(tmp_path, *same, "SOLVER.BASE_LR", 0.004), stop=5)
    with caplog.at_level(logging.WARNING):
        trainer, _ = run(
            cfg_of(tmp_path, *same, "SOLVER.BASE_LR", 0.0001, "SOLVER.WEIGHT_DECAY", 0.3), resume=True, stop=1
        )
    assert trainer.start_iter == 4
    # Half of a cosine is over.
    assert trainer.optimizer.param_groups[0]["lr"] <= 0.00005
    assert {0.3} <= {group["weight_decay"] for group in trainer.optimizer.param_groups}
    assert "SOLVER.BASE_LR 0.004 -> 0.0001" in caplog.text and "SOLVER.WEIGHT_DECAY" in caplog.text


def test_an_evaluation_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the disk with the videos is gone")

    monkeypatch.setattr(MESTADTrainer, "test", fails)
    cfg = cfg_of(tmp_path, "SOLVER.CHECKPOINT_PERIOD", 100, "TEST.EVAL_PERIOD", 3, "SOLVER.MAX_ITER", 8)
    with pytest.raises(RuntimeError, match="is gone"):
        run(cfg)
    monkeypatch.setattr(MESTADTrainer, "test", lambda *_: {})
    assert run(cfg, resume=True)[0].start_iter == 3
    # Of the files that a process wrote before evaluations the newest is kept.
    run(cfg_of(tmp_path / "b", "SOLVER.CHECKPOINT_PERIOD", 100, "TEST.EVAL_PERIOD", 3, "SOLVER.MAX_ITER", 8))
    names = sorted(path.name for path in (tmp_path / "b").glob("model_*.pth"))
    assert names == ["model_0000005.pth", "model_final.pth"]


def test_an_explosion_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    trainer = build_trainer(cfg_of(tmp_path, "SOLVER.MAX_ITER", 30))
    trainer.resume_or_load(resume=False)
    compute = trainer._trainer.compute_losses

    def explode(batch: list[dict]) -> dict:
        losses = compute(batch)
        return {k: v * float("nan") for k, v in losses.items()} if trainer.iter >= 3 else losses

    trainer._trainer.compute_losses = explode
    good = tmp_path / "model_0000001.pth"
    with pytest.raises(NonFiniteLossError, match=rf"iteration 3: .*; the last good checkpoint is {good}"):
        trainer.train()


def test_a_run_that_can_use_no_batch_ends_with_an_error(tmp_path: Path) -> None:
    trainer = build_trainer(cfg_of(tmp_path, "SOLVER.MAX_ITER", 60, "SOLVER.ON_NONFINITE", "skip"))
    trainer.resume_or_load(resume=False)
    trainer._trainer.compute_losses = lambda batch: {"loss_cls": torch.tensor(float("nan"))}
    with pytest.raises(NonFiniteLossError, match=f"^{MAX_SKIPPED_IN_ROW} batches in a row can't be used"):
        trainer.train()
    assert len(list(tmp_path.glob("nonfinite_*.pth"))) == MAX_DUMPS
    assert not (tmp_path / "model_final.pth").exists()


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(tmp_path: Path) -> None:
    trainer = build_trainer(cfg_of(tmp_path, "SOLVER.ON_NONFINITE", "skip"))
    trainer.resume_or_load(resume=False)
    parameter = next(trainer.bare_model.roi_heads.parameters())
    before = {key: value.clone() for key, value in trainer.bare_model.state_dict().items()}
    compute = trainer._trainer.compute_losses

    def steep(batch: list[dict]) -> dict:
        losses = compute(batch)
        # The square root's slope at zero is infinite, its value is not.
        return {**losses, "loss_steep": ((parameter - parameter.detach()) ** 2).sum().sqrt()}

    trainer._trainer.compute_losses = steep
    trainer.train()
    after = trainer.bare_model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items() if "running" not in key
               and "num_batches" not in key)  # fmt: skip
