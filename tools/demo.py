#!/usr/bin/env python
"""Detect actions in videos: an annotated mp4, AVA csv, JSON, JSON lines and a strip of pictures for each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.inference.arguments import (
    INPUTS,
    add_config_options,
    add_detector_arguments,
    add_people_argument,
    add_persons_arguments,
    add_rate_argument,
    add_speed_arguments,
    add_stream_argument,
    add_tubes_argument,
    add_window_arguments,
    check_streams,
    check_window,
    detector_config,
    mode_of_arguments,
    note_on_limit,
    note_on_nobody,
)
from mestad_d2.process_setup import start_quickly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_detector_arguments(parser)
    add_persons_arguments(parser)
    parser.add_argument("--input", nargs="+", default=[], help=INPUTS)
    parser.add_argument("--webcam", type=int, metavar="N", help="camera number N, until Ctrl-C or --seconds")
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="how long a camera or stream is watched"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the results, made if absent")
    add_rate_argument(parser)
    add_window_arguments(parser)
    add_stream_argument(parser)
    parser.add_argument(
        "--score-threshold",
        type=float,
        default=0.3,
        help="least action score that is drawn (%(default)s); the csv keeps all from 0.002 on",
    )
    parser.add_argument(
        "--person-threshold", type=float, default=0.4, help="least person score that is drawn (%(default)s)"
    )
    add_tubes_argument(parser)
    add_people_argument(parser)
    parser.add_argument(
        "--font", metavar="FILE", help="font of the labels; default: one that has the names' letters"
    )
    parser.add_argument(
        "--max-labels", type=int, metavar="N", help="people with a label, at most; boxes are always drawn"
    )
    parser.add_argument(
        "--no-labels", dest="max_labels", action="store_const", const=0, help="draw boxes alone"
    )
    add_speed_arguments(parser)
    add_config_options(parser)
    args = parser.parse_args(arguments)
    if not args.input and args.webcam is None:
        parser.error("give --input or --webcam")
    if args.webcam is not None and (args.start, args.end) != (0.0, float("inf")):
        parser.error("--start and --end are for films; a camera is watched for --seconds")
    return args


if __name__ == "__main__":
    # Before the imports below, which take seconds: --help and wrong flags are answered at once.
    ARGUMENTS = parse()
    start_quickly()

from detectron2.config import CfgNode

from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.inference.action_names import action_names
from mestad_d2.inference.inputs import find_inputs
from mestad_d2.inference.output_files import made_if_used, said_if_unwritable
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.results.fonts import note_on_letters, use_font
from mestad_d2.inference.results.result_files import ResultFiles, paths_of_results, result_stems
from mestad_d2.inference.video_runner import VideoRunner
from mestad_d2.process_setup import keep_freed_memory
from mestad_d2.video.live.address import is_address


@one_line_errors()
def main(args: argparse.Namespace) -> int:
    """Run over all inputs; one that fails does not stop the others. Returns the exit status."""
    check_window(args)
    args.input = find_inputs(args.input)
    check_streams(args, args.input)
    places = result_stems(args.input, args.output)
    cfg = detector_config(args)
    refuse_overwriting_inputs(
        [*args.input, args.config_file, args.labels, cfg.MODEL.WEIGHTS],
        paths_of_results(places),
    )
    with made_if_used(args.output):
        return detect(args, cfg, places)


def detect(args: argparse.Namespace, cfg: CfgNode, places: list[Path]) -> int:
    """Run over all inputs with results at ``places``; returns the exit status."""
    keep_freed_memory(cfg.MODEL.DEVICE)
    names = action_names(cfg, args.labels)
    use_font(args.font)
    if note := note_on_letters(names.names.values()):
        print(f"note: {note}", file=sys.stderr)
    predictor = VideoPredictor(
        cfg,
        speed=mode_of_arguments(args, cfg.MODEL.DEVICE),
        keyframes_per_second=args.keyframes_per_second,
        mode=args.mode,
    )
    results = ResultFiles(
        names, args.score_threshold, args.person_threshold, max_labels=args.max_labels, tubes=args.tubes
    )
    runner = VideoRunner(
        predictor, results, window=(args.start, args.end), stream=args.stream, seconds=args.seconds
    )
    failed = 0
    for video, stem in zip(args.input, places, strict=True):
        try:
            with said_if_unwritable(stem):
                (runner.stream if is_address(video) else runner.file)(video, stem)
        except UserError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    if args.webcam is not None:
        stem = args.output / f"camera{args.webcam}"
        with said_if_unwritable(stem):
            runner.camera(args.webcam, stem)
    for note in (note_on_limit(cfg, runner.counts), note_on_nobody(cfg, runner.counts)):
        if note:
            print(f"note: {note}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main(ARGUMENTS))
