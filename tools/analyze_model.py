#!/usr/bin/env python
"""Multiply-adds, parameters and structure of a model: --tasks flop parameter structure."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from detectron2.modeling import build_model
from fvcore.nn import parameter_count_table
from tabulate import tabulate

from mestad_d2.engine.cost import cost_of_config
from mestad_d2.engine.setup import setup_cfg
from mestad_d2.errors import one_line_errors


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--tasks", nargs="+", choices=["flop", "parameter", "structure"], required=True)
    parser.add_argument(
        "--input-size", type=int, help="side of the square frames; default: INPUT.MIN_SIZE_TEST"
    )
    parser.add_argument("--output", type=Path, help="json file for the figures of flop")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    return parser.parse_args()


@one_line_errors()
def main(args: argparse.Namespace) -> None:
    """Print what was asked for."""
    cfg = setup_cfg(args.config_file, [*args.opts, "MODEL.DEVICE", "cpu"])
    if "flop" in args.tasks:
        cost = cost_of_config(cfg, args.input_size or cfg.INPUT.MIN_SIZE_TEST)
        rows = [(name, value, cost["params_by_part"][name]) for name, value in cost["by_part"].items()]
        rows.append(("total", cost["total_gflops"], cost["params_millions"]))
        print(tabulate(rows, headers=["part", "GFLOPs", "parameters (M)"], floatfmt=".2f"))
        if args.output:
            args.output.write_text(json.dumps(cost, indent=2) + "\n")
    if "parameter" in args.tasks:
        print(parameter_count_table(build_model(cfg), max_depth=4))
    if "structure" in args.tasks:
        print(build_model(cfg))


if __name__ == "__main__":
    main(parse())
