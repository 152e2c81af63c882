"""Interrupted training: kill -9, SIGTERM and full disks cost no more than the steps since the last checkpoint."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reliability.kills import kill_at_random, state
from reliability.runs import TOOL, arguments, start_fork, wait_for, wait_until_heeded
from tiny import ROOT

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.checkpoint.write import save_whole
from mestad_d2.engine.stop_signal import EXIT_SAVED
from mestad_d2.errors import UserError

pytestmark = pytest.mark.usefixtures("on_toy")


def test_killed_three_times(tmp_path: Path) -> None:
    report = kill_at_random(tmp_path, start_fork, kills=3, iterations=8, seed=1)
    assert report.killed == 3 and report.finished >= 1
    assert report.loss_difference <= 1e-6 and report.state_difference <= 1e-6


@pytest.mark.slow
def test_killed_twenty_times(tmp_path: Path) -> None:
    # Forked, so that the moments fall into training and saving, not into the seconds of importing.
    report = kill_at_random(tmp_path, start_fork, kills=20, iterations=12)
    print(f"kills {report}")
    assert report.killed == 20 and report.finished >= 1
    assert report.loss_difference <= 1e-6 and report.state_difference <= 1e-6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_saved(tmp_path: Path, number: int) -> None:
    never = ["SOLVER.CHECKPOINT_PERIOD", 5000, "DATALOADER.NUM_WORKERS", int(number == signal.SIGTERM)]
    run = start_fork(arguments(tmp_path, 10000, *never), tmp_path / "out")
    # Python itself catches SIGINT from its start.
    wait_until_heeded(run.process.pid, signal.SIGTERM)
    assert run.wait(0.5) is None
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
            with pytest.raises(UserError) as error:
                checkpointer.save(name, iteration=2)
            assert f"{name}.pth" in str(error.value) and "\n" not in str(error.value)
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
    with pytest.raises(UserError, match="model.pth.*No space left"):
        save_whole({"model": {}}, tmp_path / "model.pth")
    assert not list(tmp_path.iterdir())


def ended_in_one_line(output: Path, log: str) -> None:
    """One line says what was not written; all checkpoints are whole, and the run goes on from the last."""
    errors = [line for line in log.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "Traceback" not in log, log[-3000:]
    assert "not written" in errors[0] and "untouched" in errors[0] and "--resume" in errors[0]
    for path in output.glob("*.pth"):
        torch.load(path, weights_only=True)
    assert not list(output.glob(".*.part"))
    last = torch.load(output / (output / "last_checkpoint").read_text(), weights_only=True)["iteration"]
    run = start_fork(arguments(output, last + 3, resume=True), output / "again")
    assert run.wait(120) == 0, (output / "again").read_text()[-2000:]
    assert f"Starting training from iteration {last + 1}" in (output / "log.txt").read_text()


def test_a_disk_that_fills_up_in_mid_run(tmp_path: Path) -> None:
    run = start_fork(arguments(tmp_path, 10000), tmp_path / "out")
    wait_for(tmp_path, "last_checkpoint")
    size = next(tmp_path.glob("model_*.pth")).stat().st_size
    # From now on no file of that process may become as large as a checkpoint.
    resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (size - 1, size - 1))
    assert run.wait(60) == 2, (tmp_path / "out").read_text()[-3000:]
    ended_in_one_line(tmp_path, (tmp_path / "out").read_text())


@pytest.mark.slow
def test_a_real_disk_that_is_full(tmp_path: Path) -> None:
    disk, copy = tmp_path / "disk", tmp_path / "copy"
    disk.mkdir()
    train = [sys.executable, "-W", "ignore", str(TOOL), *arguments(disk, 10000)]
    # Some checkpoints fit; the mount is seen by this shell and its children alone.
    shell = f'mount -t tmpfs -o size=2m none "{disk}" || exit 99; "$@"; code=$?; cp -r "{disk}" "{copy}"; exit $code'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(["unshare", "-rm", "sh", "-c", shell, "sh", *train], env=environment, text=True,
                              capture_output=True, timeout=120)  # fmt: skip
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if done.returncode in (1, 99) and "Traceback" not in done.stderr and not copy.exists():
        pytest.skip("no disks can be mounted here")
    assert done.returncode == 2, done.stderr[-3000:]
    ended_in_one_line(copy, done.stdout + done.stderr)


def test_killed_between_the_last_two_files(tmp_path: Path) -> None:
    run = start_fork(arguments(tmp_path, 4), tmp_path / "out")
    assert run.wait(120) == 0
    want = state(tmp_path / "model_final.pth")
    (tmp_path / "model_final.pth").unlink()
    (tmp_path / "model_final_teacher.pth").unlink()
    (tmp_path / "last_checkpoint").write_text("model_0000003.pth")
    again = start_fork(arguments(tmp_path, 4, resume=True), tmp_path / "out")
    assert again.wait(120) == 0, (tmp_path / "out").read_text()[-2000:]
    got = state(tmp_path / "model_final.pth")
    assert got.keys() == want.keys() and all(torch.equal(got[name], want[name]) for name in want)
    assert (tmp_path / "model_final_teacher.pth").is_file()
    assert (tmp_path / "last_checkpoint").read_text() == "model_final.pth"
