"""Interleaved timing of several functions, so that other load on the machine affects all of them alike."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch


def progress(text: str) -> None:
    """Print one line of progress to stderr; figures go to stdout."""
    print(text, file=sys.stderr, flush=True)


def timed(function: Callable[[], object]) -> float:
    """Measure the seconds of a call, including work on a GPU."""
    begin = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begin


@torch.no_grad()
def time_interleaved(functions: dict[str, Callable[[], object]], runs: int) -> dict[str, list[float]]:
    """Measure ``runs`` calls of each function in seconds, interleaved, after one warm-up call each.

    Rounds go through all functions, every other one backwards: a machine that slows down during a round
    favours none of them.
    """
    for name, function in functions.items():
        progress(f"  first run of {name}: {timed(function):.1f} s")
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for index in range(runs):
        for name in list(functions)[:: 1 if index % 2 == 0 else -1]:
            seconds[name].append(timed(functions[name]))
        progress(
            f"  round {index + 1} of {runs}: " + ", ".join(f"{n} {s[-1]:.3f}" for n, s in seconds.items())
        )
    return seconds


def ratio(seconds: dict[str, list[float]], above: str, below: str) -> dict[str, float]:
    """Compute median and quartiles of the ratio within a round of two functions' times."""
    pairs = sorted(a / b for a, b in zip(seconds[above], seconds[below], strict=True))
    low, middle, high = statistics.quantiles(pairs, n=4, method="inclusive") if len(pairs) > 1 else pairs * 3
    return {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)]}
