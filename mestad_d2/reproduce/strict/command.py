"""Run the strict comparison from the command line: data, timing, runs, tables."""

from __future__ import annotations

import argparse
import json
import platform
import time
from dataclasses import asdict

import torch

from mestad_d2.data.check.label_changes import LabelChanges
from mestad_d2.errors import UserError
from mestad_d2.formats.files import write_text
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.reproduce.strict.data import CONDITIONS, prepare
from mestad_d2.reproduce.strict.report import write_report
from mestad_d2.reproduce.strict.rows import ALL, ROWS, Task, chosen_tasks, order
from mestad_d2.reproduce.strict.schedule import run_tasks
from mestad_d2.reproduce.strict.training import Plan

# Conditions beside the toy where none is named; "toy_1s" is the toy with more test videos.
CURVES = [name for name in CONDITIONS if name not in ("toy", "toy_1s")]


def choose(args: argparse.Namespace) -> list[Task]:
    """Return the runs that a command line asks for, in order.

    Raises:
        UserError: an unknown row or condition, or real clips without their folder.
    """
    if args.groups:
        tasks = list(chosen_tasks(args.groups, CONDITIONS))
        real = sorted({task.condition for task in tasks if CONDITIONS[task.condition].real})
        if real and not args.real:
            raise UserError(f"--groups: {real[0]} needs the folder ucf24_mini; name it with --real")
        return tasks
    curves = list(CURVES) if args.curves is None else args.curves
    unknown = sorted(set(curves) - CONDITIONS.keys())
    if unknown:
        raise UserError(f"--curves: no condition {', '.join(unknown)}; choose among {', '.join(CONDITIONS)}")
    curves = [name for name in curves if args.real or not CONDITIONS[name].real]
    tasks = list(order(args.best, args.seeds or ALL, curves))
    if args.rows:
        unknown = sorted(set(args.rows) - ROWS.keys())
        if unknown:
            raise UserError(f"--rows: no row {', '.join(unknown)}; choose among {', '.join(ROWS)}")
        tasks = [task for task in tasks if task.row in args.rows]
    return tasks


def describe(name: str, changes: LabelChanges | None) -> dict:
    """Return what a condition is, and the share of label sets that hold for half a gap."""
    condition = CONDITIONS[name]
    halfway = None if changes is None else round(changes.unchanged_after_half, 4)
    return {**asdict(condition), "config": condition.config, "unchanged_after_half": halfway}


def run(args: argparse.Namespace) -> None:
    """Render, train, evaluate; continue an earlier, interrupted command.

    Args:
        args: of ``tools/reproduce.py``.

    Raises:
        UserError: an unknown condition, or runs that failed.
    """
    began = time.perf_counter()
    tasks = choose(args)
    names = list(dict.fromkeys(task.condition for task in tasks))
    work = args.work or args.output / "work"
    refuse_overwriting_inputs([args.real], [args.output, work])
    plan = Plan(work / "data", work / "runs", args.real, args.burn_in, args.iterations, opts=tuple(args.opts))
    workers = max(args.jobs, 1)
    changes = prepare([CONDITIONS[name] for name in names], plan.root, args.real, tuple(args.videos), workers)
    print(f"data ready after {time.perf_counter() - began:.0f} s", flush=True)
    args.output.mkdir(parents=True, exist_ok=True)
    kept = args.output / "strict.json"
    earlier = json.loads(kept.read_text()) if kept.is_file() else {}
    facts = {
        "best": args.best, "burn_in": args.burn_in, "iterations": args.iterations, "seeds": args.seeds,
        "rows": {key: asdict(row) for key, row in ROWS.items()},
        "conditions": earlier.get("conditions", {}) | {name: describe(name, changes[name]) for name in names},
        "groups": args.groups, "jobs": args.jobs, "opts": args.opts,
        "torch": torch.__version__, "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }  # fmt: skip
    write_text(kept, json.dumps(facts, indent=1) + "\n")
    left = None if args.deadline is None else args.deadline - (time.perf_counter() - began)
    failures = run_tasks(plan, tasks, args.output / "strict.jsonl", workers, left)
    print(f"ended after {time.perf_counter() - began:.0f} s", flush=True)
    print(write_report(args.output))
    if failures:
        raise UserError(f"{len(failures)} of {len(tasks)} runs failed; {failures[0]}")
