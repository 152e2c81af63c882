#!/usr/bin/env python
"""Compare strategies of pseudo labels directly, with one teacher on the same clips.

scripts/assignment_benchmark.py --config-file configs/toy/SlowOnly_tiny_TLA.yaml --clips 400 \
    --output output/assignment.json --opts MODEL.WEIGHTS output/toy/SlowOnly_tiny_TLA/model_final_teacher.pth
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.engine.mean_teacher.trainer import TLATrainer
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.load_config import setup_cfg
from mestad_d2.reproduce.strict import oracles  # noqa: F401  (registers)
from mestad_d2.reproduce.strict.assignment import judge_labelers

NAMES = (
    "TLA", "ActorTLA", "SoftTLA", "AgreementTLA", "TrackTLA", "DenseTLA", "HardThreshold", "NearestKeyFrame",
    "InterpolatedUnion", "InterpolatedIntersection", "OracleLabels",
)  # fmt: skip


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", type=Path, required=True)
    parser.add_argument("--labelers", nargs="+", default=list(NAMES), help="SEMISUP.PSEUDO_LABELER names")
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--output", type=Path, required=True, help="json file of the figures")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    return parser.parse_args()


@one_line_errors()
def main() -> None:
    """Evaluate the strategies, print a table and write all figures."""
    args = parse()
    cfg = setup_cfg(args.config_file, args.opts)
    if not cfg.MODEL.WEIGHTS:
        raise UserError("MODEL.WEIGHTS: name the teacher's checkpoint, as in --opts MODEL.WEIGHTS model.pth")
    teacher = TLATrainer.build_model(cfg).eval()
    MESTADCheckpointer(teacher, cfg=cfg).load(cfg.MODEL.WEIGHTS)
    figures = judge_labelers(cfg, teacher, args.labelers, args.clips)
    shown = ("covered", "exact", "precision", "recall", "wrong")
    print(f"{'':>26} " + " ".join(f"{name:>9}" for name in shown) + "  exact from key frame to middle")
    for name, row in figures.items():
        offsets = " ".join(f"{value:.3f}" for value in row["by_offset"])
        print(f"{name:>26} " + " ".join(f"{row[key]:9.4f}" for key in shown) + f"  {offsets}")
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
