#!/usr/bin/env python
"""Sparse labels in, dense labels out: label the frames between annotated key frames.

tools/densify.py --config-file configs/toy/SlowOnly_tiny.yaml --annotations sparse.csv --videos DIR \
    --output dense.csv --rate every --opts MODEL.WEIGHTS model_final.pth
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from tqdm import tqdm

from mestad_d2.densify.csv_files import write_dense_csv
from mestad_d2.densify.records import key_frames
from mestad_d2.densify.run import Settings, densify, watch_videos
from mestad_d2.densify.teacher import teacher_cfg
from mestad_d2.engine.setup import setup_cfg
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.semisup.assigner import TemporalLabelAssigner


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--annotations", type=Path, required=True, help="csv of the annotated key frames")
    parser.add_argument("--videos", required=True, help="folder of the videos or frame folders")
    parser.add_argument("--output", type=Path, required=True, help="csv to write")
    parser.add_argument(
        "--rate", default="every", help="labels a second between key frames, or every (frame)"
    )
    parser.add_argument("--exclude", help="csv video,timestamp of key frames to leave out")
    parser.add_argument("--max-gap", type=float, help="key frames further apart (s) are no neighbours")
    parser.add_argument("--start", default="0", help="timestamp of a file's first frame, or ava (900 if cut)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing output")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    return parser.parse_args()


def number(text: str, option: str, word: str) -> float | None:
    """A positive number, or None for ``word``."""
    if text == word:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6 or (option == "--rate" and value == 0):
        raise UserError(f"{option} {text}: give a number or {word}")
    return value


def bar(name: str, items: Iterable, total: int) -> Iterable:
    """Progress of one video."""
    return tqdm(items, desc=name, total=total, unit=" frames")


@one_line_errors()
def main(args: argparse.Namespace) -> None:
    """Watch, label and write."""
    settings_rate = number(args.rate, "--rate", "every")
    start = number(args.start, "--start", "ava")
    if args.output.exists() and not args.overwrite:
        raise UserError(f"{args.output}: is there already; add --overwrite or name another --output")
    cfg = teacher_cfg(setup_cfg(args.config_file, args.opts))
    if not cfg.MODEL.WEIGHTS:
        raise UserError(
            "MODEL.WEIGHTS: name the teacher's checkpoint, as in --opts MODEL.WEIGHTS model_final.pth"
        )
    keys = key_frames(str(args.annotations), args.exclude)
    settings = Settings(settings_rate, cfg.SEMISUP.MAX_GAP if args.max_gap is None else args.max_gap, start)
    predictor = VideoPredictor(cfg)
    parts = args.output.with_name(args.output.name + ".parts")
    videos = list(watch_videos(cfg, predictor, keys, args.videos, parts, settings, bar))
    semisup = cfg.SEMISUP
    assigner = TemporalLabelAssigner(semisup.COST_BCE, semisup.COST_L1, semisup.COST_GIOU)
    dense = densify(videos, assigner, settings.max_gap)
    write_dense_csv(args.output, args.annotations, (found.row for found in dense.rows))
    print(
        f"{args.output}: {len(dense.rows)} new rows in {len(dense.stretches)} stretches of {len(videos)} videos"
    )


if __name__ == "__main__":
    main(parse())
