#!/usr/bin/env python
"""Draw pseudo labels: left key frame, frame between, right key frame (paper, Fig. 4), with their quality.

tools/visualize_tla.py --config-file configs/toy/SlowOnly_tiny_TLA.yaml --output output/tla \
    MODEL.WEIGHTS output/toy/SlowOnly_tiny_TLA/model_final_teacher.pth
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.data.catalog import action_names, input_files
from mestad_d2.data.loaders import build_unlabeled_loader
from mestad_d2.engine.mean_teacher.pictures import draw_sample
from mestad_d2.engine.mean_teacher.pseudo_quality import add_ratios
from mestad_d2.engine.mean_teacher.teacher import find_people
from mestad_d2.engine.mean_teacher.trainer import (
    TLATrainer,
    dense_judge,
    fit_to_training_set,
    teacher_selection,
)
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.load_config import setup_cfg
from mestad_d2.semisup import build_pseudo_labeler
from mestad_d2.video.output.picture_file import write_picture


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--clips", type=int, default=8, help="unlabelled clips to draw")
    parser.add_argument("--judge", type=int, default=0, help="clips to judge against dense truth, if more")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="config options KEY VALUE ...")
    return parser.parse_args()


@one_line_errors()
def main(args: argparse.Namespace) -> None:
    """Label clips of the first of DATASETS.TRAIN with MODEL.WEIGHTS as teacher; draw and evaluate them."""
    one_each = ["SOLVER.IMS_PER_BATCH", "1", "SEMISUP.UNLABELED_RATIO", "1.0"]
    cfg = setup_cfg(args.config_file, [*args.opts, *one_each], freeze=False)
    # Names and start timestamps belong to one dataset.
    cfg.DATASETS.TRAIN = cfg.DATASETS.TRAIN[:1]
    if not cfg.MODEL.WEIGHTS:
        raise UserError("MODEL.WEIGHTS: name the checkpoint of a teacher, as in MODEL.WEIGHTS model.pth")
    labeler = build_pseudo_labeler(cfg)
    if not labeler.uses_unlabeled:
        raise UserError(f"SEMISUP.PSEUDO_LABELER: {cfg.SEMISUP.PSEUDO_LABELER} labels nothing; choose TLA")
    dataset = cfg.DATASETS.TRAIN[0]
    pictures = [args.output / f"{number:03d}.png" for number in range(args.clips)]
    inputs = [args.config_file, cfg.MODEL.WEIGHTS, *input_files(dataset)]
    refuse_overwriting_inputs(inputs, [args.output, *pictures])
    teacher = TLATrainer.build_model(cfg).eval()
    MESTADCheckpointer(teacher, cfg=cfg).load_trained(cfg.MODEL.WEIGHTS)
    fit_to_training_set(cfg, teacher, labeler)
    names, judge = action_names(dataset), dense_judge(cfg)
    ratios = []
    for number, batch in enumerate(islice(build_unlabeled_loader(cfg), max(args.clips, args.judge))):
        found = find_people(teacher, batch, teacher_selection(cfg))
        truth = labeler.label_clip(found[0], batch[0])
        if judge is not None:
            ratios.append(judge(batch, found, [truth]))
        if number < args.clips:
            write_picture(pictures[number], draw_sample(batch[0], found[0], truth, names, batch[0]["start"]))
    print(f"{min(args.clips, number + 1)} pictures in {args.output}")
    for name, (above, below) in add_ratios(ratios).items():
        print(
            f"{name.removeprefix('pseudo/'):>18} {above / below if below else float('nan'):.3f} ({above:g} of {below:g})"
        )


if __name__ == "__main__":
    main(parse())
