#!/usr/bin/env python
"""Benchmark one part of the project; each task has its own flags (``--task eval --help``)."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.errors import one_line_errors

# Task -> module with ``main(argv)``; loaded only when asked for.
TASKS = {
    "data": "mestad_d2.benchmarks.data",
    "eval": "mestad_d2.benchmarks.evaluation",
    "gpu": "mestad_d2.benchmarks.gpu",
    "inference": "mestad_d2.benchmarks.inference",
    "pass": "mestad_d2.benchmarks.one_pass",
    "start": "mestad_d2.benchmarks.start",
    "train": "mestad_d2.benchmarks.training",
    "tubes": "mestad_d2.benchmarks.tubes.evaluation",
}


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(description=__doc__, add_help=False)
    parser.add_argument("--task", choices=sorted(TASKS))
    args, rest = parser.parse_known_args(argv)
    if args.task is None:
        if {"-h", "--help"} & set(rest):
            parser.print_help()
            return
        parser.error("give --task")
    importlib.import_module(TASKS[args.task]).main(rest)


if __name__ == "__main__":
    main()
