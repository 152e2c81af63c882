#!/usr/bin/env python
"""Detect actions in videos: an annotated mp4, AVA csv, JSON and a strip of pictures for each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tqdm import tqdm

from mestad_d2.data.video_stream import probe
from mestad_d2.engine.setup import setup_cfg
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.inference.labels import ActionNames, action_names
from mestad_d2.inference.output import sure_people, write_csv, write_json, write_strip, write_video
from mestad_d2.inference.predictor import KeyframeDetections, VideoPredictor
from mestad_d2.inference.speed import add_speed_arguments, mode_of_arguments


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--input", nargs="+", required=True, help="video files or folders of frames")
    parser.add_argument("--output", type=Path, required=True, help="folder for the results")
    parser.add_argument("--keyframes-per-second", type=float, default=1.0)
    parser.add_argument("--score-threshold", type=float, default=0.3, help="least action score that is drawn")
    parser.add_argument(
        "--person-threshold", type=float, default=0.4, help="least person score that is drawn"
    )
    parser.add_argument("--labels", help="label map; default: the one of DATASETS.TEST")
    add_speed_arguments(parser)
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    return parser.parse_args()


def detect(predictor: VideoPredictor, video: str) -> list[KeyframeDetections]:
    """Detections of all key frames of a video, with a progress bar."""
    duration = probe(video).duration
    total = int(duration * predictor.keyframes_per_second) + 1 if duration else None
    return list(tqdm(predictor.predict(video), total=total, unit=" key frames", desc=Path(video).name))


def write_all(
    args: argparse.Namespace, video: str, found: list[KeyframeDetections], names: ActionNames
) -> None:
    """Write the four results of a video below ``args.output``."""
    stem = args.output / Path(video).stem
    # Weak scores are kept in the csv, which is for evaluation; people look at the others.
    write_csv(stem.with_suffix(".csv"), stem.name, found, threshold=0.002)
    found = [sure_people(keyframe, args.person_threshold) for keyframe in found]
    write_json(stem.with_suffix(".json"), stem.name, found, names, args.score_threshold)
    write_strip(stem.with_suffix(".png"), video, found, names, args.score_threshold)
    write_video(stem.with_suffix(".mp4"), video, found, names, args.score_threshold)
    print(f"{stem}.mp4, .csv, .json, .png")


@one_line_errors()
def main(args: argparse.Namespace) -> int:
    """Run over all inputs; one that fails does not stop the others. Returns the exit status."""
    cfg = setup_cfg(args.config_file, args.opts)
    names = action_names(cfg, args.labels)
    predictor = VideoPredictor(
        cfg,
        speed=mode_of_arguments(args, cfg.MODEL.DEVICE),
        keyframes_per_second=args.keyframes_per_second,
    )
    args.output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for video in args.input:
        try:
            write_all(args, video, detect(predictor, video), names)
        except UserError as error:
            failed += 1
            print(f"error: {error}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main(parse()))
