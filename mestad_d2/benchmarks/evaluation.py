"""Benchmark of the evaluation of AVA's validation set: time and memory."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mestad_d2.benchmarks.synthetic_detections import ava_size_persons, write_ava_size
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS
from mestad_d2.evaluation.frame_map.score import frame_map
from mestad_d2.evaluation.person_ap import person_ap
from mestad_d2.evaluation.read_rows import read_rows
from mestad_d2.formats.label_map import read_label_map

# The process itself reports its peak: getrusage also counts the parent's memory before exec.
_CHILD = """
import pathlib, runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
status = pathlib.Path("/proc/self/status")
print(status.read_text() if status.exists() else "", file=sys.stderr)
"""
_TOOL = Path(__file__).resolve().parents[2] / "tools" / "evaluate_ava.py"


def main(argv: list[str]) -> None:
    """Print one JSON object: seconds by protocol and stage, of person AP, and of the whole tool with its memory."""
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
        figures["persons"] = time_persons(args.frames)
        if _TOOL.exists():
            figures["tool"] = time_tool(*map(str, files))
    text = json.dumps(figures, indent=1)
    print(text)
    if args.output:
        Path(args.output).write_text(text + "\n")


def time_evaluation(groundtruth: str, detections: str, labelmap: str, protocol: str) -> dict[str, float]:
    """Measure the seconds for reading both files and for counting."""
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


def time_persons(num_frames: int) -> dict[str, float]:
    """Measure the seconds for AP and recall of persons: with AVA's number of detections and with six times as many."""
    figures = {}
    for name, per_frame in (("seconds", 2.5), ("seconds_15_a_frame", 15.0)):
        truth, found = ava_size_persons(num_frames, per_frame)
        start = time.perf_counter()
        figures["AP50"] = person_ap(truth, found)["AP50"]
        figures[name] = round(time.perf_counter() - start, 3)
    return figures


def time_tool(groundtruth: str, detections: str, labelmap: str) -> dict[str, float | None]:
    """Measure wall-clock seconds and peak memory (Linux only) of the tool, including the start of Python."""
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
