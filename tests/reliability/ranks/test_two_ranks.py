"""Two processes do what one does on the joint batch; one that fails takes the others with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from reliability.runs import TOOL, arguments, wait_for
from tiny import ROOT

from mestad_d2.engine.stop_signal import EXIT_SAVED


@pytest.fixture(scope="module")
def environment(toy: Path) -> dict[str, str]:
    """Where a tiny toy dataset is."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    return {**os.environ, "DETECTRON2_DATASETS": str(toy), "PYTHONPATH": path}


@pytest.fixture(scope="module")
def results(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What two processes and one found."""
    folder = tmp_path_factory.mktemp("ranks")
    program = Path(__file__).with_name("two_ranks.py")
    subprocess.run([sys.executable, str(program), str(folder)], env=environment, check=True, timeout=240)
    names = ("1_0", "2_0", "2_1")
    return {name: torch.load(folder / f"{name}.pth", weights_only=True) for name in names} | {
        "csv": [(folder / f"out{n}/inference/toy_val/detections.csv").read_bytes() for n in (1, 2)]
    }


def test_averaged_gradients_equal_the_joint_batch(results: dict) -> None:
    alone = results["1_0"]["gradients"]
    assert len(alone) > 20 and any(g.abs().max() > 1e-3 for g in alone.values())
    for rank in ("2_0", "2_1"):
        assert results[rank]["gradients"].keys() == alone.keys()
        for name, gradient in alone.items():
            torch.testing.assert_close(results[rank]["gradients"][name], gradient, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["labelled", "unlabelled"])
def test_loaders_share_out_the_joint_batches(results: dict, name: str) -> None:
    whole = results["1_0"][name]
    shares = [results[f"2_{rank}"][name] for rank in range(2)]
    for batch, first, second in zip(whole, *shares, strict=True):
        assert not set(first) & set(second) and first + second == batch
    assert sorted(sum(whole, [])) == list(range(len(sum(whole, []))))


def test_evaluation_equals_one_process(results: dict) -> None:
    assert results["2_0"]["evaluation"] == results["1_0"]["evaluation"] != {}
    assert results["2_1"]["evaluation"] == {}
    first, second = results["csv"]
    assert first == second and first.count(b"\n") > 10


def start(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen:
    """A process whose children are its group."""
    with log.open("w") as file:
        return subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)


def ranks_of(process: subprocess.Popen) -> list[int]:
    """Processes that hold a rank, below a starter."""
    found = []
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"spawn_main" in command or b"train_net" in command:
            found.append(int(child))
    return found


@pytest.mark.slow
def test_a_dead_rank_ends_all_and_a_signal_saves(environment: dict[str, str], tmp_path: Path) -> None:
    train = arguments(tmp_path, 10000, "SOLVER.CHECKPOINT_PERIOD", 5000, processes=2)
    command = [sys.executable, "-W", "ignore", str(TOOL), *train]
    process = start(command, environment, tmp_path / "log")
    try:
        wait_for(tmp_path, "events.*", 300)
        time.sleep(3)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == EXIT_SAVED, (tmp_path / "log").read_text()[-3000:]
        assert len(list(tmp_path.glob("model_*.pth"))) == 1
        process = start(command, environment, tmp_path / "log")
        wait_for(tmp_path, "log.txt.rank1", 300)
        for path in tmp_path.glob("events.*"):
            path.unlink()
        wait_for(tmp_path, "events.*", 300)
        ranks = ranks_of(process)
        assert len(ranks) == 2
        began = time.monotonic()
        os.kill(ranks[1], signal.SIGKILL)
        assert process.wait(60) not in (0, EXIT_SAVED)
        assert time.monotonic() - began < 60
        assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.slow
def test_torchrun(environment: dict[str, str], tmp_path: Path) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--standalone"]
    process = start([*run, str(TOOL), *arguments(tmp_path, 6)], environment, tmp_path / "log")
    assert process.wait(300) == 0, (tmp_path / "log").read_text()[-3000:]
    assert (tmp_path / "model_final_teacher.pth").is_file() and (tmp_path / "log.txt.rank1").is_file()
