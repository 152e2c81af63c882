"""Interrupted training: kill -9, SIGTERM and full disks cost no more than the steps since the last checkpoint."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import pytest
import torch
from reliability.kills import kill_at_random
from reliability.runs import arguments, start_fork, start_tool, wait_for

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.checkpoint.write import save_whole
from mestad_d2.data.toy import make_toy
from mestad_d2.engine.signals import EXIT_SAVED


@pytest.fixture(scope="module", autouse=True)
def _toy(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("datasets")
    make_toy(root / "toy", seed=0, videos=1, val_videos=1, seconds=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(root))
        yield


def test_killed_three_times(tmp_path: Path) -> None:
    report = kill_at_random(tmp_path, start_fork, kills=3, iterations=8, seed=1)
    assert report.killed == 3 and report.finished >= 1
    assert report.loss_difference <= 1e-6 and report.state_difference <= 1e-6


@pytest.mark.slow
def test_killed_twenty_times(tmp_path: Path) -> None:
    report = kill_at_random(tmp_path, start_tool, kills=20, iterations=40)
    assert report.killed == 20 and report.finished >= 1
    assert report.loss_difference <= 1e-6 and report.state_difference <= 1e-6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_saved(tmp_path: Path, number: int) -> None:
    never = ["SOLVER.CHECKPOINT_PERIOD", 5000, "DATALOADER.NUM_WORKERS", int(number == signal.SIGTERM)]
    run = start_fork(arguments(tmp_path, 10000, *never), tmp_path / "out")
    wait_for(tmp_path, "events.*")
    assert run.wait(0.8) is None
    run.kill(number)
    assert run.wait(60) == EXIT_SAVED, (tmp_path / "out").read_text()[-2000:]
    (saved,) = tmp_path.glob("model_*.pth")
    iteration = int(saved.stem.split("_")[1])
    assert (tmp_path / "last_checkpoint").read_text() == saved.name
    assert torch.load(saved, weights_only=True)["iteration"] == iteration
    # The run goes on with the step after.
    again = start_fork(arguments(tmp_path, iteration + 3, *never, resume=True), tmp_path / "again")
    assert again.wait(120) == 0
    assert f"Starting training from iteration {iteration + 1}" in (tmp_path / "log.txt").read_text()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    model = torch.nn.Linear(100, 100)
    checkpointer = MESTADCheckpointer(model, str(tmp_path))
    checkpointer.save("model_0000001", iteration=1)
    before = (tmp_path / "model_0000001.pth").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # No file may grow beyond this, as on a disk with so much left.
        resource.setrlimit(resource.RLIMIT_FSIZE, (10000, hard))
        for name in ("model_0000002", "model_0000001"):
            with pytest.raises(OSError) as error:
                checkpointer.save(name, iteration=2)
            assert f"{name}.pth" in str(error.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "model_0000001.pth").read_bytes() == before
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000001.pth"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last_checkpoint", "model_0000001.pth"]


def test_an_error_of_the_disk_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="model.pth.*No space left"):
        save_whole({"model": {}}, tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())
