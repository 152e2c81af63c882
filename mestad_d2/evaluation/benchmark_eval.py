"""How long the evaluation of AVA's validation set takes, and how much memory."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .frame_map import frame_map
from .label_map import read_label_map
from .protocols import PROTOCOLS
from .read_rows import read_rows
from .synthetic import write_ava_size

# The peak is asked of the process itself: getrusage counts what the parent held before exec, too.
_CHILD = """
import pathlib, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
status = pathlib.Path("/proc/self/status")
print(status.read_text() if status.exists() else "", file=sys.stderr)
"""
_TOOL = Path(__file__).resolve().parents[2] / "tools" / "evaluate_ava.py"


def main(argv: list[str]) -> None:
    """Print one JSON object: seconds by protocol and stage, seconds and peak memory of the whole tool."""
    parser = argparse.ArgumentParser(prog="benchmark.py --task eval", description=__doc__)
    parser.add_argument("--frames", type=int, default=57_000)
    parser.add_argument("--rows", type=int, default=850_000)
    parser.add_argument("--output", help="write the figures to this JSON file too")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        files = write_ava_size(Path(folder), args.frames, args.rows)
        figures = {"frames": args.frames, "rows": args.rows}
        for protocol in PROTOCOLS:
            figures[protocol] = time_evaluation(*map(str, files), protocol)
        if _TOOL.exists():
            figures["tool"] = time_tool(*map(str, files))
    text = json.dumps(figures, indent=1)
    print(text)
    if args.output:
        Path(args.output).write_text(text + "\n")


def time_evaluation(groundtruth: str, detections: str, labelmap: str, protocol: str) -> dict[str, float]:
    """Seconds for reading both files and for counting."""
    start = time.perf_counter()
    labels = read_label_map(labelmap)
    gt = read_rows(groundtruth, "gt", protocol, set(labels.names))
    det = read_rows(detections, "det", protocol, set(labels.names))
    read = time.perf_counter()
    result = frame_map(gt, det, labels, protocol)
    end = time.perf_counter()
    return {
        "read_seconds": round(read - start, 3),
        "count_seconds": round(end - read, 3),
        "seconds": round(end - start, 3),
        "mAP": result.mAP,
    }


def time_tool(groundtruth: str, detections: str, labelmap: str) -> dict[str, float | None]:
    """Wall-clock seconds and peak memory (Linux only) of the tool, start of Python included."""
    command = [sys.executable, "-c", _CHILD, str(_TOOL), "--groundtruth", groundtruth]
    command += ["--detections", detections, "--labelmap", labelmap]
    start = time.perf_counter()
    status = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    seconds = time.perf_counter() - start
    peak = re.search(r"VmHWM:\s*(\d+) kB", status)
    return {
        "seconds": round(seconds, 3),
        "peak_megabytes": round(int(peak.group(1)) / 1024, 1) if peak else None,
    }
