#!/usr/bin/env python
"""Run the long reliability tests and print one table: scripts/stress.py [--output FOLDER].

Two parts run at a time. Tests that are not done after --minutes are stopped and count as lost.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = "tests/reliability"
# The longest first.
PARTS = {
    "full disks under every tool": [f"{FOLDER}/disks"],
    "fuzzers": [f"{FOLDER}/test_fuzz.py", f"{FOLDER}/test_csv_fuzz.py"],
    "the app under visitors": ["tests/inference/app/test_visitors.py"],
    "damaged files for every parser": [f"{FOLDER}/parsers", "tests/formats/test_safe_pickle.py"],
    "killed 20 times, full disks": [f"{FOLDER}/test_interruption.py"],
    "long lists, orphans, half videos": ["tests/inference/batch/test_long_lists.py"],
    "folders, resuming, early signals": ["tests/engine/test_run_folder.py", "tests/engine/test_stop_early.py"],
    "two processes, a dead one": [f"{FOLDER}/ranks"],
    "weights and configs": ["tests/checkpoint/test_weights_to_detect_with.py", "tests/config"],
    "memory, files, shared memory": [f"{FOLDER}/test_leaks.py"],
    "stopped in evaluation, same seeds": [f"{FOLDER}/test_stop_in_evaluation.py", f"{FOLDER}/test_reproducibility.py"],
    "broken videos, dying loaders": [
        f"{FOLDER}/videos/test_bad_videos.py",
        f"{FOLDER}/videos/test_bad_videos_in_training.py",
    ],
    "odd batches": [f"{FOLDER}/test_odd_batches.py"],
    "strangers' files and names": ["tests/checkpoint/test_safety.py", f"{FOLDER}/videos/test_names_in_html.py"],
}  # fmt: skip
# Seconds that an ended part has to print its counts.
GRACE_SECONDS = 30


def run(name: str, files: list[str], end: float, share: float, log: Path) -> dict[str, int | str]:
    """Run one part until the time ``end`` (monotonic); count tests tried, survived and lost."""
    long = {
        "MESTAD_FUZZ": round(10000 * share), "MESTAD_LONG": share, "MESTAD_PARSER_FILES": round(2000 * share),
        "MESTAD_APP_MINUTES": 3 * share,
    }  # fmt: skip
    environment = {**os.environ, **{key: str(value) for key, value in long.items()}, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-m", "slow or not slow", "-s", *files]
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
        )
        late = not _ends(process, max(end - began, 1))
        if late:
            # Like Ctrl-C: pytest still reports finished tests.
            process.send_signal(signal.SIGINT)
            _ends(process, GRACE_SECONDS)
        _kill_group(process)
    text = log.read_text(errors="replace")
    counts = {word: int(number) for number, word in re.findall(r"\b(\d+) (passed|failed|errors?)\b", text)}
    survived = counts.pop("passed", 0)
    lost = sum(counts.values()) + (late or not (survived or counts))
    for line in re.findall(r"^\.*((?:leak|kills) .*)$", text, re.MULTILINE):
        print("  ", line)
    took = round(time.monotonic() - began)
    print(
        f"   {name}: {survived} survived, {lost} lost{', out of time' if late else ''} ({took} s)", flush=True
    )
    return {"name": name, "tried": survived + lost, "survived": survived, "lost": lost, "seconds": took}


def _ends(process: subprocess.Popen, seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _kill_group(process: subprocess.Popen) -> None:
    """Kill the processes that the part has left running."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def main(output: Path, minutes: float, share: float) -> int:
    """Run all parts, print the table, and say by the exit code whether all survived."""
    output.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * minutes
    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        logs = (output / f"{number}.log" for number in range(len(PARTS)))
        rows = list(pool.map(run, PARTS, PARTS.values(), [end] * len(PARTS), [share] * len(PARTS), logs))
    print(
        f"{10000 * share:,.0f} inputs a fuzzer, {2000 * share:,.0f} damaged files a parser and training steps, "
        f"{30 * share:g} minutes of film, {3 * share:g} minutes of visitors"
    )
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
    parser.add_argument("--minutes", type=float, default=28, help="when to end what is not done")
    parser.add_argument(
        "--share", type=float, default=1.0,
        help="of 10,000 inputs a fuzzer, 2,000 damaged files a parser, 2,000 training steps, 30 minutes of film and "
        "3 minutes of visitors of the app",
    )  # fmt: skip
    args = parser.parse_args()
    sys.exit(main(args.output, args.minutes, args.share))
