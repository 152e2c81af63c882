"""The long form runs tests that are there."""

from __future__ import annotations

from loading import load_script
from tiny import ROOT


def test_every_part_is_there_and_every_test_of_this_folder_is_in_a_part() -> None:
    named = [name for files in load_script("scripts/stress.py").PARTS.values() for name in files]
    assert all((ROOT / name).exists() for name in named)
    here = {str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "reliability").rglob("test_*.py")}
    covered = {name for name in here if any(name.startswith(part.removesuffix(".py")) for part in named)}
    assert here - covered <= {"tests/reliability/test_stress_parts.py"}
