"""Memory that is freed serves the next tensors instead of going back to the system."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from mestad_d2.process_setup import keep_freed_memory

# Page faults of tensors of 40 MB, one after another, each freed before the next; the first twenty don't count.
PROGRAM = """
import resource, sys, torch
from mestad_d2.process_setup import keep_freed_memory
if sys.argv[1:]:
    assert keep_freed_memory(sys.argv[1]) == (sys.argv[1] == "cpu")
for i in range(40):
    if i == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10_000_000)
pages = 40_000_000 / resource.getpagesize()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / pages)
"""


def touched(*device: str) -> float:
    """Faults per page of such a tensor: 20 where all of them are new."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, *device]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone is told")
def test_pages_are_not_touched_anew() -> None:
    kept = touched("cpu")
    assert kept < 2
    # Huge pages make one fault stand for many, so no number of them is sure to be met otherwise.
    assert touched() > 2 * kept


def test_nothing_is_changed_for_other_devices() -> None:
    assert not keep_freed_memory("cuda") and not keep_freed_memory("cuda:1")


# What outlives a request lies behind what it freed: the process stays large until the memory is returned.
SERVER = """
import os, torch
from pathlib import Path
from mestad_d2.process_setup import keep_freed_memory, return_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
keep_freed_memory()
before = resident()
tensors = [torch.ones(1_000_000) for _ in range(50)]
outlives = tensors[-1]
del tensors
kept = resident() - before
returned = return_freed_memory()
print(kept, resident() - before, returned, outlives.sum().item())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's malloc alone is told")
def test_memory_between_two_blocks_is_returned() -> None:
    command = [sys.executable, "-W", "ignore", "-c", SERVER]
    kept, left, returned, total = subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.split()
    # 50 tensors of 3.8 MB.
    assert float(kept) > 150 and float(left) < 40 and returned == "True" and float(total) == 1_000_000
