"""Run the strict comparison from the command line: data, timing, runs, tables."""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict

import torch

from mestad_d2.errors import UserError
from mestad_d2.formats.files import write_text
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.reproduce.strict.data import CONDITIONS, prepare
from mestad_d2.reproduce.strict.report import write_report
from mestad_d2.reproduce.strict.rows import ALL, ROWS, order
from mestad_d2.reproduce.strict.schedule import run_tasks
from mestad_d2.reproduce.strict.training import Plan

# Labelers chosen on the third split of videos; docs/tla.md has the figures.
BEST = ("dense", "agreement")


def run(args: argparse.Namespace) -> None:
    """Render, train, evaluate; continue an earlier, interrupted command.

    Args:
        args: of ``tools/reproduce.py``.

    Raises:
        UserError: an unknown condition, or runs that failed.
    """
    began = time.perf_counter()
    curves = [name for name in CONDITIONS if name != "toy"] if args.curves is None else args.curves
    unknown = sorted(set(curves) - CONDITIONS.keys())
    if unknown:
        raise UserError(f"--curves: no condition {', '.join(unknown)}; choose among {', '.join(CONDITIONS)}")
    curves = [name for name in curves if args.real or not CONDITIONS[name].gap]
    work = args.work or args.output / "work"
    refuse_overwriting_inputs([args.real], [args.output, work])
    plan = Plan(work / "data", work / "runs", args.real, args.burn_in, args.iterations, opts=tuple(args.opts))
    workers = max(args.jobs, 1)
    prepare(
        [CONDITIONS[name] for name in ("toy", *curves)], plan.root, args.real, tuple(args.videos), workers
    )
    print(f"data ready after {time.perf_counter() - began:.0f} s", flush=True)
    tasks = list(order(args.best, args.seeds or ALL, curves))
    if args.rows:
        unknown = sorted(set(args.rows) - ROWS.keys())
        if unknown:
            raise UserError(f"--rows: no row {', '.join(unknown)}; choose among {', '.join(ROWS)}")
        tasks = [task for task in tasks if task.row in args.rows]
    args.output.mkdir(parents=True, exist_ok=True)
    facts = {
        "best": args.best, "burn_in": args.burn_in, "iterations": args.iterations, "seeds": args.seeds,
        "rows": {key: asdict(row) for key, row in ROWS.items()},
        "conditions": {name: {**asdict(c), "config": c.config} for name, c in CONDITIONS.items()},
        "jobs": args.jobs, "opts": args.opts, "torch": torch.__version__, "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }  # fmt: skip
    write_text(args.output / "strict.json", json.dumps(facts, indent=1) + "\n")
    left = None if args.deadline is None else args.deadline - (time.perf_counter() - began)
    failures = run_tasks(plan, tasks, args.output / "strict.jsonl", workers, left)
    print(f"ended after {time.perf_counter() - began:.0f} s", flush=True)
    print(write_report(args.output))
    if failures:
        raise UserError(f"{len(failures)} of {len(tasks)} runs failed; {failures[0]}")
