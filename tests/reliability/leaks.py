"""Memory, open files and shared memory of this process over a long job, and their slopes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Usage:
    """``slope`` in KB of resident memory a step after warm-up; open files and shared memory, first and last."""

    slope: float
    files: tuple[int, int]
    shared: tuple[int, int]
    resident_mb: tuple[float, float]


def resident_kb() -> float:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def shared_files() -> int:
    """Shared-memory files that this process has mapped."""
    return sum("/dev/shm/" in line for line in Path("/proc/self/maps").read_text().splitlines())


def watch(step: Callable[[], object], steps: int, warm_up: int) -> Usage:
    """Call ``step`` so often and fit a line through the resident memory after ``warm_up``."""
    memory, counts = [], []
    for number in range(steps):
        step()
        if number >= warm_up and (number - warm_up) % max((steps - warm_up) // 50, 1) == 0:
            memory.append((number, resident_kb()))
            counts.append((len(os.listdir("/proc/self/fd")), shared_files()))
    at, kb = np.array(memory).T
    first, last = counts[0], counts[-1]
    slope = float(np.polyfit(at, kb, 1)[0])
    return Usage(
        round(slope, 3),
        (first[0], last[0]),
        (first[1], last[1]),
        (round(float(kb[0]) / 1024, 1), round(float(kb[-1]) / 1024, 1)),
    )
