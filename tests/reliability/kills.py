"""The kill test: training processes die at random moments, and the run ends as if none had."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from reliability.runs import Run, arguments, next_losses


@dataclass
class KillReport:
    """``killed`` processes, ``finished`` runs, ``progress`` (checkpoint of each resume) and largest differences."""

    killed: int = 0
    finished: int = 0
    progress: list[str] = field(default_factory=list)
    loss_difference: float = 0.0
    state_difference: float = 0.0


def kill_at_random(
    folder: Path, start: Callable[[list[str], Path], Run], kills: int, iterations: int, seed: int = 0
) -> KillReport:
    """Kill ``kills`` training processes, each at a random moment, resuming after each.

    A run that ends before the kills are used up is compared with the undisturbed one, and another begins.

    Raises:
        AssertionError: a process failed by itself, or hung.
    """
    begun = time.monotonic()
    whole = folder / "whole"
    whole.mkdir()
    _finish(start(arguments(whole, iterations), folder / "log"), folder / "log")
    duration, rng = time.monotonic() - begun, random.Random(seed)
    want = state(whole / "model_final.pth"), next_losses(whole, iterations)
    report = KillReport()
    while report.killed < kills:
        output = folder / f"run{report.finished}"
        output.mkdir()
        while True:
            last = output / "last_checkpoint"
            report.progress.append(last.read_text() if last.exists() else "-")
            run = start(arguments(output, iterations, resume=True), folder / "log")
            wait = rng.uniform(0.05, duration) if report.killed < kills else 300.0
            code = run.wait(wait)
            if code is None:
                assert report.killed < kills, "hung"
                run.kill(signal.SIGKILL)
                assert run.wait(30) is not None
                report.killed += 1
                continue
            assert code == 0, (folder / "log").read_text()[-3000:]
            break
        report.finished += 1
        got = state(output / "model_final.pth"), next_losses(output, iterations)
        assert got[0].keys() == want[0].keys() and got[1].keys() == want[1].keys()
        for name, value in want[0].items():
            difference = (got[0][name].double() - value.double()).abs().max() if value.numel() else 0.0
            report.state_difference = max(report.state_difference, float(difference))
        differences = [abs(got[1][name] - value) for name, value in want[1].items()]
        report.loss_difference = max(report.loss_difference, *differences)
        shutil.rmtree(output)
    return report


def state(path: Path) -> dict[str, torch.Tensor]:
    """All tensors and numbers of a checkpoint by their place: student, teacher, optimiser, schedule."""
    found: dict[str, torch.Tensor] = {}

    def collect(value: object, where: str) -> None:
        if isinstance(value, torch.Tensor | int | float):
            found[where] = torch.as_tensor(value)
        elif isinstance(value, dict | list | tuple):
            for key, item in value.items() if isinstance(value, dict) else enumerate(value):
                collect(item, f"{where}/{key}")

    collect(torch.load(path, weights_only=True), "")
    return found


def _finish(run: Run, log: Path) -> None:
    assert run.wait(300) == 0, log.read_text()[-3000:]
