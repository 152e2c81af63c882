#!/usr/bin/env python
"""Reproduce tables 1 to 8 of the paper: tools/reproduce.py --table 5 --dataset toy --seeds 3 [KEY VALUE ...]."""

# ruff: noqa: E402  (arguments are read before the libraries are imported, which takes seconds)
from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.process_setup import start_quickly
from mestad_d2.reproduce.strict.rows import BEST, ROWS
from mestad_d2.reproduce.tables import DATASETS, TABLES


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name every row and its config, and stop")
    parser.add_argument("--table", type=int, choices=sorted(TABLES))
    parser.add_argument("--dataset", choices=sorted(DATASETS), default="toy")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rows", nargs="+", help="only these rows, by the ends of their configs' names")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--output", type=Path, default=Path("output/reproduce"))
    parser.add_argument("--document", type=Path, help="take all results of --output into this page, and stop")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    add_strict_arguments(parser)
    return parser.parse_args()


def add_strict_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``--strict``."""
    group = parser.add_argument_group("with --table 5 --strict")
    group.add_argument("--strict", action="store_true", help="Table 5 against more clips, passes and oracles")
    group.add_argument("--best", nargs=2, default=list(BEST), choices=sorted(ROWS), metavar="ROW")
    group.add_argument("--burn-in", type=int, default=600, help="iterations before the rows part")
    group.add_argument("--iterations", type=int, default=400, help="of a row")
    group.add_argument(
        "--videos", type=int, nargs=2, default=[70, 16], help="toy videos: training, each test"
    )
    group.add_argument("--real", type=Path, help="folder ucf24_mini, for curves on real clips")
    group.add_argument("--curves", nargs="*", help="conditions beside the toy (default: all)")
    group.add_argument(
        "--groups",
        nargs="+",
        metavar="CONDITIONS:ROWS:SEEDS",
        help="just these runs, in this order, as in toy_2s,toy_4s:none_x2,tla:1-4",
    )
    group.add_argument("--deadline", type=float, help="seconds after which what is finished counts")
    group.add_argument("--work", type=Path, help="folder of data and checkpoints (default: --output/work)")


if __name__ == "__main__":
    parse()
    start_quickly()

from mestad_d2.reproduce.document import document
from mestad_d2.reproduce.execution import execute
from mestad_d2.reproduce.report import write
from mestad_d2.reproduce.runs import Run, plan, simulate_boxes
from mestad_d2.reproduce.strict import command as strict


def show_list() -> None:
    """Print every row with its config and the paper's figure."""
    for table in TABLES.values():
        print(f"Table {table.number}: {table.title}")
        for row in table.rows:
            figure = "not of the paper" if row.paper_map is None else f"{row.paper_map:.1f} mAP"
            cost = "" if row.paper_gflops is None else f", {row.paper_gflops:.1f} GFLOPs"
            boxes = " (on AVA: needs files of person boxes)" if row.needs_boxes else ""
            print(f"  {row.name:28} configs/ablations/{row.config}.yaml  {figure}{cost}{boxes}")
        for text in table.cited:
            print(f"  {text} (cited, not run)")


def run_all(runs: list[Run], jobs: int) -> list[str]:
    """Run what is not finished; one line when a run ends. Returns the messages of those that failed."""
    start, failures, done = time.perf_counter(), [], 0
    waiting = [[run for run in runs if not run.waits], [run for run in runs if run.waits]]
    for group in waiting:
        with ThreadPoolExecutor(jobs) as pool:
            futures = {pool.submit(execute, run): run for run in group}
            for future in as_completed(futures):
                run, done = futures[future], done + 1
                try:
                    message = f"{future.result()['frame_map']:.2f} mAP"
                except UserError as error:
                    failures.append(f"{run.row.name}, seed {run.seed}: {error}")
                    message = f"failed: {error}"
                left = (time.perf_counter() - start) / done * (len(runs) - done) / 60
                print(f"[{done}/{len(runs)}] {run.row.name}, seed {run.seed}: {message}; "
                      f"about {left:.0f} min left", flush=True)  # fmt: skip
    return failures


@one_line_errors()
def main() -> None:
    """Run a table's rows and write its table and picture."""
    args = parse()
    if args.document:
        for file in document(args.output, args.document):
            print(f"{file} -> {args.document}")
        return
    if args.list or args.table is None:
        show_list()
        return
    if args.strict:
        if args.table != 5:
            raise UserError("--strict: only Table 5 has a strict form; add --table 5")
        strict.run(args)
        return
    # The rows' processes inherit this folder.
    os.environ.setdefault("DETECTRON2_DATASETS", "datasets")
    if args.jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    table = TABLES[args.table]
    planned = runs = plan(table, args.dataset, args.seeds, args.output, args.opts)
    if args.rows:
        names = {run.row.config.split("/", 1)[1] for run in runs}
        for name in args.rows:
            if name not in names:
                raise UserError(f"--rows: {name!r} is none of {', '.join(sorted(names))}")
        runs = [run for run in runs if run.row.config.split("/", 1)[1] in args.rows]
    simulate_boxes(runs)
    failures = run_all(runs, args.jobs)
    words = sys.argv[1:]
    if "--output" in words:
        # Local paths are left out of the published command.
        del words[words.index("--output") : words.index("--output") + 2]
    # Rows finished by an earlier command are part of the table too.
    print(write(table, args.dataset, planned, args.output, f"tools/reproduce.py {shlex.join(words)}"))
    if failures:
        raise UserError(f"{len(failures)} of {len(runs)} runs failed; {failures[0]}")


if __name__ == "__main__":
    main()
