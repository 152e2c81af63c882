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
