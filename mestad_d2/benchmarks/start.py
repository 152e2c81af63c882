"""Benchmark of the time to ``--help`` and to the first detection, beside other copies of this project."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mestad_d2.benchmarks.data import write_film
from mestad_d2.errors import UserError
from mestad_d2.timing import progress

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
# Seconds between two checks of the file of detections.
LOOK = 0.01


def seconds_until(command: list[str], folder: Path, there: Path | None) -> tuple[float, float]:
    """Measure the wall-clock and CPU seconds of a command until it ends, or is stopped after a line in ``there``.

    Raises:
        UserError: the command failed before.
    """
    environment = os.environ | {"PYTHONPATH": str(folder)}
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    spent = 0.0
    while process.poll() is None:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        spent = (int(fields[11]) + int(fields[12])) / TICKS
        if there and there.exists() and there.stat().st_size:
            break
        time.sleep(LOOK)
    wall = time.perf_counter() - begin
    ended = process.poll()
    process.kill()
    process.wait()
    if ended not in (None, 0):
        raise UserError(f"{' '.join(command)}: exit code {ended} in {folder}; run it by hand to see why")
    return wall, spent


def main(argv: list[str] | None = None) -> None:
    """Print the figures as JSON on stdout, progress on stderr."""
    parser = argparse.ArgumentParser(prog="benchmark.py --task start", description=__doc__)
    parser.add_argument(
        "--beside", type=Path, nargs="*", default=[], help="roots of other copies, run in turns"
    )
    parser.add_argument("--runs", type=int, default=5, help="rounds (%(default)s)")
    parser.add_argument(
        "--config-file", default="configs/toy/SlowOnly_tiny.yaml", help="in each copy (%(default)s)"
    )
    args = parser.parse_args(argv)
    if args.runs < 1:
        raise UserError("--runs must be at least 1")
    spent: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as made:
        film = Path(made) / "film.mp4"
        write_film(film, 2.0, size=(360, 640))
        for index in range(args.runs):
            for root in [ROOT, *args.beside][:: 1 if index % 2 == 0 else -1]:
                output = Path(made) / f"{index}{root.name}"
                command = [sys.executable, str(root / "tools" / "demo.py")]
                options = [
                    "--config-file",
                    str(root / args.config_file),
                    "--input",
                    str(film),
                    "--output",
                    str(output),
                ]
                for name, words, there in (
                    ("help", ["--help"], None),
                    ("first detection", options, output / "film.jsonl"),
                ):
                    seconds = seconds_until([*command, *words], root, there)
                    spent.setdefault(f"{root}: {name}", []).append(seconds)
                    progress(f"  {root}: {name}: {seconds[0]:.2f} s, processor {seconds[1]:.2f} s")
    figures = {
        name: {
            "wall": round(statistics.median(wall for wall, _ in values), 2),
            "processor": round(statistics.median(processor for _, processor in values), 2),
        }
        for name, values in spent.items()
    }
    print(json.dumps(figures, indent=2))
