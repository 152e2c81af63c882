#!/usr/bin/env python
"""Compare two-stage models with the one networks grafted of them: frame-mAP, person AP50 and time.

scripts/graft_experiment.py --work DIR --output graft.json --toy-seeds 3 --ucf DIR --ucf-seeds 2 --jobs 2
A second call goes on where the first was stopped; what is finished when --deadline ends is written.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.files import write_json
from mestad_d2.reproduce.graft.data import GraftData, decode, toy, ucf24
from mestad_d2.reproduce.graft.report import NAMES, table


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of data and checkpoints")
    parser.add_argument("--output", type=Path, required=True, help="json file of the figures")
    parser.add_argument("--toy-seeds", type=int, default=3)
    parser.add_argument("--ucf", type=Path, help="folder ucf24_mini")
    parser.add_argument("--ucf-seeds", type=int, default=2)
    parser.add_argument(
        "--videos", type=int, nargs=3, default=[70, 20, 60], help="toy: labelled, test, unlabelled"
    )
    parser.add_argument("--seconds", type=float, help="of each toy video (default: 20 to 24)")
    parser.add_argument("--iterations", type=int, nargs=2, default=[1200, 1500], help="two-stage, graft")
    parser.add_argument("--rate", type=float, default=0.003, help="learning rate of the graft (%(default)s)")
    parser.add_argument(
        "--heads", nargs="+", choices=list(NAMES)[1:], default=list(NAMES)[1:], help="person heads to graft"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--workers", type=int, default=2, help="processes that render the toy")
    parser.add_argument(
        "--deadline", type=float, default=float("inf"), help="seconds after which runs are stopped"
    )
    parser.add_argument(
        "--time", type=int, default=0, metavar="RUNS", help="also time a key frame, so many rounds"
    )
    parser.add_argument("--time-config", default="published/pytorchvideo/slowfast_r50_detection")
    parser.add_argument("--table", action="store_true", help="print the tables of --output, and stop")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def data_of(args: argparse.Namespace, name: str) -> GraftData:
    """Prepare a dataset's files, or find them."""
    return (
        ucf24(args.work, args.ucf)
        if name == "ucf24"
        else toy(args.work, tuple(args.videos), args.workers, args.seconds)
    )


def run_one(args: argparse.Namespace) -> None:
    """Run one seed in this process."""
    from mestad_d2.reproduce.graft.run import run_seed

    name, seed = args.one.split(":")
    folder = args.work / f"{name}_{seed}"
    run_seed(
        data_of(args, name), folder, args.work / "decoded", int(seed), tuple(args.iterations), args.rate, args.heads
    )  # fmt: skip


def start(args: argparse.Namespace, task: str, began: float) -> str:
    """Run one seed in a process of its own, unless its result is there; return what became of it."""
    folder = args.work / task.replace(":", "_")
    left = args.deadline - (time.monotonic() - began)
    if read_result(folder).get("finished"):
        return "done before"
    if left < 20:
        return "not started: no time is left"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "run.log").open("a") as log:
        child = subprocess.Popen(
            [sys.executable, *sys.argv, "--one", task], stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        try:
            code = child.wait(timeout=None if left == float("inf") else left)
        except subprocess.TimeoutExpired:
            child.terminate()
            try:
                child.wait(timeout=8)
            except subprocess.TimeoutExpired:
                child.kill()
            return "stopped by the deadline"
    return "done" if code == 0 else f"failed with code {code}; see {folder / 'run.log'}"


def read_result(folder: Path) -> dict:
    """Read the figures that a run has so far."""
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def time_it(args: argparse.Namespace) -> dict:
    """Time a key frame of the two-stage pipelines and of the one network."""
    from mestad_d2.load_config import setup_cfg
    from mestad_d2.model_zoo import get_config_file
    from mestad_d2.reproduce.graft.timing import time_key_frame

    return time_key_frame(setup_cfg(get_config_file(args.time_config)), args.time)


@one_line_errors()
def main() -> None:
    """Run all seeds and write the figures of those that are finished."""
    args = parse()
    if args.one:
        run_one(args)
        return
    if args.table:
        print(table(json.loads(args.output.read_text())), end="")
        return
    began = time.monotonic()
    counts = {"toy": args.toy_seeds, "ucf24": args.ucf_seeds if args.ucf else 0}
    # A deadline leaves some seeds of both.
    seeds = range(1, max(counts.values()) + 1)
    tasks = [f"{name}:{seed}" for seed in seeds for name, count in counts.items() if seed <= count]
    # Before the processes, which would make them all at once.
    for name in dict.fromkeys(task.split(":")[0] for task in tasks):
        data = data_of(args, name)
        decode({*Path(data.train["VIDEOS"]).glob("*.mp4"), *data.videos.glob("*.mp4")}, args.work / "decoded",
               (144, 128) if name == "ucf24" else (128,), args.workers)  # fmt: skip
    print(f"data ready after {time.monotonic() - began:.0f} s", flush=True)
    figures: dict = {"iterations": args.iterations, "rate": args.rate, "videos": args.videos, "runs": []}
    with ThreadPoolExecutor(max(args.jobs, 1)) as pool:
        for task, outcome in zip(tasks, pool.map(lambda task: start(args, task, began), tasks), strict=True):
            print(f"{task}: {outcome} after {time.monotonic() - began:.0f} s", flush=True)
    for task in tasks:
        found = read_result(args.work / task.replace(":", "_"))
        figures["runs"] += [{"dataset": task.split(":")[0], **found}] if found else []
    write_json(args.output, figures)
    # When the runs have ended, so that it has the machine to itself.
    if args.time:
        figures["time"] = time_it(args)
        write_json(args.output, figures)
    if left := len(tasks) - sum(run["finished"] for run in figures["runs"]):
        raise UserError(f"{left} of {len(tasks)} runs are not finished; run it again")


if __name__ == "__main__":
    main()
