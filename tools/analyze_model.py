#!/usr/bin/env python
"""Print cost and structure of a model: --tasks flop parameter structure memory [KEY VALUE ...]."""

from __future__ import annotations

import argparse
from itertools import takewhile
from pathlib import Path

from fvcore.nn import parameter_count_table
from tabulate import tabulate

from mestad_d2.analysis.cost import cost_of_config, draw_cost
from mestad_d2.analysis.memory import training_memory
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.files import write_json
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.load_config import setup_cfg
from mestad_d2.modeling.build import build_detector

TASKS = ("flop", "parameter", "structure", "memory")


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--tasks", nargs="+", required=True, metavar="TASK", help=f"of {', '.join(TASKS)}")
    parser.add_argument(
        "--input-size", type=int, help="side of the square frames; default: INPUT.MIN_SIZE_TEST"
    )
    parser.add_argument("--clips", type=int, default=6, help="clips a GPU, for memory; default: 6")
    parser.add_argument("--output", type=Path, help="json file for the figures of flop")
    parser.add_argument("--chart", type=Path, help="picture of flop beside a two-stage detector's")
    parser.add_argument("opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    args = parser.parse_args()
    # --tasks takes all following arguments; the first one that is not a task starts the options.
    tasks = list(takewhile(TASKS.__contains__, args.tasks))
    args.tasks, args.opts = tasks, [*args.tasks[len(tasks) :], *args.opts]
    return args


@one_line_errors()
def main(args: argparse.Namespace) -> None:
    """Print what was asked for."""
    if not args.tasks:
        raise UserError(f"--tasks {' '.join(args.opts)}: use {', '.join(TASKS)}")
    for option, path in (("--output", args.output), ("--chart", args.chart)):
        if path and "flop" not in args.tasks:
            raise UserError(f"{option} {path}: only the task flop gives figures to write; add it to --tasks")
        if path and not path.parent.is_dir():
            raise UserError(f"{option} {path}: there is no folder {path.parent}")
    if args.input_size is not None and args.input_size < 32:
        raise UserError(f"--input-size {args.input_size}: give at least 32 pixels")
    if args.clips < 1:
        raise UserError(f"--clips {args.clips}: give at least 1")
    refuse_overwriting_inputs([args.config_file], [args.output, args.chart])
    cfg = setup_cfg(args.config_file, [*args.opts, "MODEL.DEVICE", "cpu"])
    if "flop" in args.tasks:
        cost = cost_of_config(cfg, args.input_size or cfg.INPUT.MIN_SIZE_TEST)
        rows = [(name, value, cost["params_by_part"][name]) for name, value in cost["by_part"].items()]
        rows.append(("total", cost["total_gflops"], cost["params_millions"]))
        print(tabulate(rows, headers=["part", "GFLOPs", "parameters (M)"], floatfmt=".2f"))
        if args.output:
            write_json(args.output, cost, indent=2)
        if args.chart:
            draw_cost(cost, args.chart, Path(args.config_file).stem)
    if "memory" in args.tasks:
        need = training_memory(cfg, args.clips)
        print(f"training, {args.clips} clips a GPU: at least {need['total']} GiB "
              f"(weights and optimiser {need['weights']}, kept for the backward pass {need['saved']})")  # fmt: skip
    if "parameter" in args.tasks:
        print(parameter_count_table(build_detector(cfg), max_depth=4))
    if "structure" in args.tasks:
        print(build_detector(cfg))


if __name__ == "__main__":
    main(parse())
