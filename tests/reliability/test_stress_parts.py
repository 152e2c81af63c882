"""The long form runs tests that are there."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import SimpleNamespace

from loading import load_script
from tiny import ROOT


def test_every_part_is_there_and_every_test_of_this_folder_is_in_a_part() -> None:
    named = [name for files in load_script("scripts/stress.py").PARTS.values() for name in files]
    assert all((ROOT / name).exists() for name in named)
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "reliability").rglob("test_*.py")}
    covered = {name for name in here if any(name.startswith(part.removesuffix(".py")) for part in named)}
    assert here - covered <= {"tests/reliability/test_stress_parts.py"}


def test_the_soak_asks_nothing_of_a_program_that_has_not_begun(tmp_path: Path) -> None:
    """A signal ends it before it can listen; one that listens must keep its promise."""
    start = load_script("scripts/soak.py").start
    after = SimpleNamespace(uniform=lambda low, high: high)
    for handler, code in (("", -signal.SIGKILL), ("signal.signal(15, lambda *_: sys.exit(3));", 3)):
        command = [sys.executable, "-c", f"import signal, sys, time;{handler} time.sleep(60)"]
        assert start(command, tmp_path / "log", "none", signal.SIGTERM, after, 4.0) == (code, True)
