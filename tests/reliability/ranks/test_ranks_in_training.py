"""Two training processes: one dies, a signal comes, torchrun started them. The long forms are in test_two_ranks."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest
from reliability.runs import Run, arguments, children_of, start_fork

from mestad_d2.engine.stop_signal import EXIT_SAVED

NEVER = ["SOLVER.CHECKPOINT_PERIOD", 5000]


pytestmark = pytest.mark.usefixtures("on_toy")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def two_training(output: Path) -> tuple[Run, list[int]]:
    """Two processes amid training, and their numbers."""
    run = start_fork(arguments(output, 10000, *NEVER, processes=2), output / "out")
    end = time.monotonic() + 120
    while "Starting training" not in _text(output / "log.txt") + _text(output / "log.txt.rank1"):
        assert time.monotonic() < end and run.wait(0.05) is None, _text(output / "out")[-3000:]
    assert run.wait(1.5) is None, (output / "out").read_text()[-3000:]
    ranks = children_of(run.process.pid)
    assert len(ranks) == 2
    return run, ranks


def test_a_dead_rank_ends_the_other_within_a_minute(tmp_path: Path) -> None:
    run, ranks = two_training(tmp_path)
    begun = time.monotonic()
    os.kill(ranks[1], signal.SIGKILL)
    assert run.wait(60) not in (None, 0, EXIT_SAVED)
    assert time.monotonic() - begun < 60
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)


def test_a_signal_ends_both_with_one_checkpoint(tmp_path: Path) -> None:
    run, ranks = two_training(tmp_path)
    run.kill(signal.SIGTERM)
    assert run.wait(60) == EXIT_SAVED, (tmp_path / "out").read_text()[-3000:]
    (saved,) = tmp_path.glob("*.pth")
    assert (tmp_path / "last_checkpoint").read_text() == saved.name
    assert not any(Path(f"/proc/{rank}").exists() for rank in ranks)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def finished(runs: list[Run], output: Path) -> None:
    """Both ended well, and one of them wrote."""
    for rank, run in enumerate(runs):
        assert run.wait(120) == 0, (output / f"out{rank}").read_text()[-3000:]
    assert (output / "model_final_teacher.pth").is_file() and (output / "log.txt.rank1").is_file()
    assert len(list(output.glob("events.*"))) == 1


def test_as_torchrun_starts_them(tmp_path: Path) -> None:
    # What torchrun tells its processes, by its manual.
    shared = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    runs = [start_fork(arguments(tmp_path, 4), tmp_path / f"out{rank}", RANK=rank, LOCAL_RANK=rank, **shared)
            for rank in range(2)]  # fmt: skip
    finished(runs, tmp_path)


def test_as_two_machines_start_them(tmp_path: Path) -> None:
    def machine(rank: int, address: str = f"tcp://127.0.0.1:{free_port()}") -> Run:
        command = arguments(tmp_path, 4)
        command[2:2] = ["--num-machines", "2", "--machine-rank", str(rank), "--dist-url", address]
        return start_fork(command, tmp_path / f"out{rank}")

    finished([machine(0), machine(1)], tmp_path)
