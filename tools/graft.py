#!/usr/bin/env python
"""Turn a two-stage action network into one network: a person head is trained onto its frozen weights.

tools/graft.py --published pytorchvideo/slowfast_r50_detection --weights SLOWFAST_8x8_R50_DETECTION.pyth \
    --videos DIR --persons torchvision:fasterrcnn_resnet50_fpn_v2 --output DIR
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.inference.arguments import (
    add_config_options,
    add_detector_arguments,
    add_persons_arguments,
    add_rate_argument,
    detector_config,
)
from mestad_d2.process_setup import start_quickly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_detector_arguments(parser)
    add_persons_arguments(parser)
    parser.add_argument(
        "--videos", required=True, help="folder of unlabelled videos, in which people are found"
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of model_final.pth and config.yaml, made if absent"
    )
    parser.add_argument("--iterations", type=int, default=2000, help="of training (%(default)s)")
    parser.add_argument("--batch", type=int, default=8, help="clips of an iteration (%(default)s)")
    parser.add_argument(
        "--keyframe-path",
        type=int,
        default=32,
        metavar="WIDTH",
        help="channels of a small network on the key frame's pixels that the person head learns with, a multiple of 8; "
        "0: none (%(default)s); not used where the model has a person head already",
    )
    parser.add_argument(
        "--person-score", type=float, default=0.8, help="least score of a person's box (%(default)s)"
    )
    parser.add_argument(
        "--start", default="0", help="timestamp of a video's first frame in csv:FILE, a csv of them, or auto"
    )
    add_rate_argument(parser)
    add_config_options(parser)
    args = parser.parse_args(arguments)
    if args.persons is None:
        parser.error("give --persons: the detector whose boxes the person head learns from")
    return args


if __name__ == "__main__":
    # Before the imports below, which take seconds: --help and wrong flags are answered at once.
    ARGUMENTS = parse()
    start_quickly()

from detectron2.config import CfgNode
from detectron2.engine import default_setup
from detectron2.utils.logger import setup_logger
from tqdm import tqdm

from mestad_d2.data.per_video import as_setting
from mestad_d2.data.person_boxes import write_person_boxes
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.graft.boxes import collect_boxes, find_videos
from mestad_d2.graft.training import one_network, train, trained_parts, training_cfg, write_result
from mestad_d2.inference.output_files import output_folder
from mestad_d2.inference.person_detector.sources import use_persons
from mestad_d2.load_config import make_deterministic
from mestad_d2.process_setup import keep_freed_memory


def bar(name: str, items: Iterable, total: int | None) -> Iterable:
    """Show the progress of one video."""
    return tqdm(items, desc=name, total=total, unit=" key frames", mininterval=1.0)


def check_numbers(args: argparse.Namespace) -> None:
    """Refuse numbers that make no sense.

    Raises:
        UserError: one does not.
    """
    for flag, value in (("--iterations", args.iterations), ("--batch", args.batch)):
        if value < 1:
            raise UserError(f"{flag} {value}: give 1 or more")
    if not 0 <= args.person_score <= 1:
        raise UserError(f"--person-score {args.person_score:g}: give 0 to 1")
    if not args.keyframes_per_second > 0:
        raise UserError(f"--keyframes-per-second {args.keyframes_per_second:g}: give more than 0")


def configs(args: argparse.Namespace) -> tuple[CfgNode, CfgNode]:
    """Return the config of the one network, and one with the person detector to learn from."""
    spec, weights = args.persons, args.persons_weights
    args.persons = args.persons_weights = None
    cfg = detector_config(args)
    persons = cfg.clone()
    persons.defrost()
    use_persons(persons, spec, weights)
    persons.MODEL.PERSON_DETECTOR.SCORE_THRESH = args.person_score
    persons.freeze()
    return one_network(cfg, path_width=args.keyframe_path), persons


@one_line_errors()
def main(args: argparse.Namespace) -> int:
    """Find people, train the person head, and write the network."""
    check_numbers(args)
    start = as_setting(args.start, "--start")
    videos = find_videos(args.videos)
    cfg, persons = configs(args)
    boxes = args.output / "persons.csv"
    refuse_overwriting_inputs(
        [
            *videos.values(),
            args.config_file,
            args.weights,
            cfg.MODEL.WEIGHTS,
            persons.MODEL.PERSON_DETECTOR.MODEL,
        ],
        [boxes, args.output / "model_final.pth", args.output / "config.yaml"],
    )
    frozen = trained_parts(cfg)
    output_folder(args.output)
    keep_freed_memory(cfg.MODEL.DEVICE)
    found = collect_boxes(persons, videos, args.keyframes_per_second, args.output / "persons", bar)
    write_person_boxes(boxes, found)
    print(
        f"{boxes}: {sum(map(len, found.values()))} people on {len(found)} key frames of {len(videos)} videos"
    )
    solver = [
        word
        for pair in zip(args.opts[::2], args.opts[1::2], strict=False)
        if pair[0].startswith("SOLVER.")
        for word in pair
    ]
    plan = training_cfg(
        cfg, frozen, boxes, args.videos, args.output,
        iterations=args.iterations, batch=args.batch, start=start, solver=solver,
    )  # fmt: skip
    default_setup(plan, argparse.Namespace(config_file="", eval_only=False, opts=[]))
    make_deterministic(plan)
    setup_logger(plan.OUTPUT_DIR, name="mestad_d2")
    weights, config = write_result(cfg, train(plan), args.output)
    print(f"{weights} and {config}: one network; frozen were {', '.join(frozen)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(ARGUMENTS))
