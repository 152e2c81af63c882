"""Damaged files of every kind are read, or refused in one line, in little memory and time.

``MESTAD_PARSER_FILES`` is the number of files a parser in the long form: 20,000, in `make stress` a tenth of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ROOT

PROGRAM = Path(__file__).with_name("mutants.py")
# As in ``mutants.parsers``; the program imports too much to be asked.
NAMES = (
    "labels of cvat", "labels of label studio", "labels of coco", "labels of via", "labels of vatic", "labels of mot",
    "training csv", "exclusions", "values of videos", "label map", "person boxes, csv", "person boxes, pickle",
    "person boxes, json", "corrections, json", "corrections, xml", "tubes, csv", "tubelets, csv", "tubes, pickle",
    "ground-truth tubes", "ground-truth tubes, mat", "tube dataset", "frame list", "checkpoint, zip",
    "checkpoint, before 1.6", "safetensors", "config",
)  # fmt: skip
# In KB: most of it is what a parser loads at its first file.
GROWTH = 200_000


def run(folder: Path, name: str, count: int) -> dict[str, tuple[int, int, int]]:
    """(read, refused, growth) by parser."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), name, "1", str(count), str(folder)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout)
    rows = [line.split(";") for line in done.stdout.splitlines()]
    return {row[0]: (int(row[1]), int(row[2]), int(row[3])) for row in rows}


def test_a_few_of_every_kind(tmp_path: Path) -> None:
    found = run(tmp_path, "all", 25)
    assert set(found) == set(NAMES)
    assert all(read + refused == 25 and refused and grown < GROWTH for read, refused, grown in found.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_many_of_every_kind(name: str, tmp_path: Path) -> None:
    count = int(os.environ.get("MESTAD_PARSER_FILES", "20000"))
    read, refused, grown = run(tmp_path, name, count)[name]
    assert read + refused == count and min(read, refused) > count / 200 and grown < GROWTH
