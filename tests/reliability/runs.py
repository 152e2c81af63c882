"""Real training processes of a tiny model in both phases, to be killed and resumed."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import runpy
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch
from tiny import ROOT, SMALLER

from mestad_d2.engine import launch as distributed

CONFIG = ROOT / "configs" / "toy" / "SlowOnly_tiny_TLA.yaml"
TOOL = ROOT / "tools" / "train_net.py"
# Half burn-in, half with teacher and student; the teacher of an untrained network must find boxes.
BOTH_PHASES = [
    "SEMISUP.TEACHER_SCORE_THRESH", "0.05", "MODEL.FCOS.PRIOR_PROB", "0.3", "DATASETS.TEST", "()", "SEED", "3",
    "SOLVER.CHECKPOINT_PERIOD", "2", "MODEL.ROI_ACTION_HEAD.DROPOUT", "0.5",
]  # fmt: skip


def arguments(
    output: Path, iterations: int, *opts: object, resume: bool = False, processes: int = 1
) -> list[str]:
    """Command line of tools/train_net.py."""
    options = [
        *SMALLER,
        *BOTH_PHASES,
        "SOLVER.MAX_ITER",
        iterations,
        "SEMISUP.BURN_IN_ITERS",
        iterations // 2,
    ]
    command = [
        "--config-file",
        CONFIG,
        *(["--resume"] if resume else []),
        "--num-gpus",
        processes,
        *options,
        "OUTPUT_DIR",
        output,
        *opts,
    ]
    return [str(part) for part in command]


@dataclass
class Run:
    """A training process."""

    process: multiprocessing.Process

    def wait(self, seconds: float) -> int | None:
        """Exit code (negative: signal), or None after ``seconds``."""
        self.process.join(seconds)
        return self.process.exitcode

    def kill(self, number: int) -> None:
        """Send a signal."""
        os.kill(self.process.pid, number)


@cache
def _server() -> ForkServerContext:
    """Forks of a process that has imported everything and run nothing: after autograd has, forks can't."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["mestad_d2.engine", "detectron2.engine", "torchvision", "reliability.runs"]
    )
    # The server itself finds modules by its environment alone.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests")]))
        context.Process(target=int).start()
    return context


def start_fork(
    command: list[str], log: Path, before: Callable[[], None] | None = None, **environment: object
) -> Run:
    """tools/train_net.py with this process's environment, forked, which saves the seconds of importing.

    ``before``, of a module's top level, is called in that process first.
    """
    variables = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    process = _server().Process(target=_run_tool, args=(command, log, before, variables))
    process.start()
    return Run(process)


def _run_tool(
    command: list[str], log: Path, before: Callable[[], None] | None, variables: dict[str, str]
) -> None:
    os.environ.update(variables)
    file = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.stdout = sys.stderr = open(file, "w", buffering=1)
    if before is not None:
        before()
    # Loader processes and ranks start as they do without this server, by forking.
    multiprocessing.set_start_method("fork", force=True)
    distributed.mp.spawn = partial(torch.multiprocessing.start_processes, start_method="fork")
    tool = runpy.run_path(str(TOOL))
    distributed.start(tool["main"], tool["parse"](command))


def children_of(pid: int) -> list[int]:
    """Processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_until_heeded(pid: int, number: int, seconds: float = 120) -> None:
    """Wait until a process has a handler of its own for a signal."""
    end = time.monotonic() + seconds
    while True:
        caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
        if caught and int(caught[1], 16) >> (number - 1) & 1:
            return
        assert time.monotonic() < end, f"{pid} does not heed {signal.Signals(number).name}"
        time.sleep(0.02)


def wait_for(path: Path, pattern: str, seconds: float = 120) -> None:
    """Wait until a file is there."""
    end = time.monotonic() + seconds
    while not list(path.glob(pattern)):
        assert time.monotonic() < end, f"no {pattern} in {path}"
        time.sleep(0.02)


def next_losses(output: Path, iterations: int) -> dict[str, float]:
    """Losses of the iteration that follows a run of ``iterations``: what everything that was saved leads to."""
    run = start_fork(
        arguments(output, iterations, "SOLVER.MAX_ITER", iterations + 1, resume=True), output / "next"
    )
    assert run.wait(120) == 0, (output / "next").read_text()[-2000:]
    row = json.loads((output / "metrics.json").read_text().splitlines()[-1])
    assert row["iteration"] == iterations
    return {name: value for name, value in row.items() if "loss" in name}
