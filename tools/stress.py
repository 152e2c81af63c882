#!/usr/bin/env python
"""Everything that must survive, in its long form, and one table: tools/stress.py [--output FOLDER]."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "tests/reliability"
# Name, file and seconds it may take: 28 minutes in all.
PARTS = [
    ("killed 20 times, signals, full disks", f"{FOLDER}/test_interruption.py", 600),
    ("two processes, a dead one", f"{FOLDER}/test_two_ranks.py", 240),
    ("broken videos, dying loaders", f"{FOLDER}/test_bad_videos.py", 120),
    ("strangers' files", "tests/checkpoint/test_safety.py", 120),
    ("fuzzers, 10,000 inputs each", f"{FOLDER}/test_fuzz.py", 360),
    ("memory, files, shared memory", f"{FOLDER}/test_leaks.py", 240),
]


def run(name: str, file: str, seconds: int, log: Path) -> dict[str, int | str]:
    """One part: tests tried, survived and lost; a part that hangs is lost as a whole."""
    environment = {**os.environ, "MESTAD_FUZZ": "10000", "MESTAD_LONG": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-m", "slow or not slow", "-s", "-q", str(ROOT / file)]
    began = time.monotonic()
    with log.open("w") as out:
        try:
            subprocess.run(command, cwd=ROOT, env=environment, stdout=out, stderr=out, timeout=seconds)
        except subprocess.TimeoutExpired:
            out.write("\n1 failed: out of time\n")
    text = log.read_text()
    counts = {word: int(number) for number, word in re.findall(r"\b(\d+) (passed|failed|errors?)\b", text)}
    survived = counts.get("passed", 0)
    lost = sum(number for word, number in counts.items() if word != "passed") + (not counts)
    for line in re.findall(r"^\.?(leak .*)$", text, re.MULTILINE):
        print("  ", line)
    took = round(time.monotonic() - began)
    return {"name": name, "tried": survived + lost, "survived": survived, "lost": lost, "seconds": took}


def main(output: Path) -> int:
    """Run all parts, print the table, and say by the exit code whether all survived."""
    output.mkdir(parents=True, exist_ok=True)
    rows = [run(*part, output / f"{number}.log") for number, part in enumerate(PARTS)]
    print(f"{'':38}{'tried':>8}{'survived':>10}{'lost':>6}{'seconds':>9}")
    for row in rows:
        print(f"{row['name']:38}{row['tried']:8}{row['survived']:10}{row['lost']:6}{row['seconds']:9}")
    lost = sum(int(row["lost"]) for row in rows)
    print(
        f"{'all':38}{sum(int(r['tried']) for r in rows):8}{sum(int(r['survived']) for r in rows):10}{lost:6}"
    )
    return int(lost > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "output" / "stress", help="for the logs")
    sys.exit(main(parser.parse_args().output))
