#!/usr/bin/env python
"""Densify sparse labels, and collect corrected labels as training data.

tools/densify.py --config-file configs/toy/SlowOnly_tiny.yaml --annotations sparse.csv --videos DIR \
    --output dense.csv --rate 5 --review review.html --opts MODEL.WEIGHTS model_final.pth
tools/densify.py --corrected dense.cvat --annotations dense.csv --videos DIR --output train.csv
"""

# ruff: noqa: E402  (arguments are read before the libraries are imported, which takes seconds)
from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from mestad_d2.errors import UserError, counted, one_line_errors
from mestad_d2.inference.arguments import add_persons_arguments
from mestad_d2.process_setup import start_quickly


def parse(argv: list[str] | None = None) -> Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file")
    parser.add_argument("--annotations", type=Path, required=True, help="csv of the annotated key frames")
    parser.add_argument("--videos", required=True, help="folder of the videos or frame folders")
    parser.add_argument("--output", type=Path, required=True, help="csv to write; other formats beside it")
    parser.add_argument(
        "--rate", default="every", help="labels a second between key frames, or every (frame)"
    )
    parser.add_argument("--review", type=Path, help="html page to write: uncertain stretches first")
    parser.add_argument("--review-cards", type=int, default=60, help="people that the page shows")
    parser.add_argument("--labels", help="label map; default: the one of DATASETS.TEST")
    parser.add_argument("--exclude", help="csv video,timestamp of key frames to leave out")
    parser.add_argument("--max-gap", type=float, help="key frames further apart (s) are no neighbours")
    parser.add_argument(
        "--start", default="0", help="timestamp of a file's first frame, a csv of them, or auto"
    )
    parser.add_argument(
        "--train-first", action="store_true", help="train on the annotations alone, then label"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing output")
    parser.add_argument(
        "--corrected", type=Path, help="corrected csv, json, xml or folder of xml: makes training data"
    )
    parser.add_argument("--min-confidence", type=float, default=0.8, help="of a frame's uncorrected rows")
    add_persons_arguments(parser)
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    return parser.parse_args(argv)


if __name__ == "__main__":
    parse()
    start_quickly()

from detectron2.config import CfgNode
from detectron2.engine import default_setup
from tqdm import tqdm

from mestad_d2.data.per_video import as_setting
from mestad_d2.data.prepare.frame_times import frame_times
from mestad_d2.data.video_sources import DatasetVideos
from mestad_d2.densify.corrections import merge_corrections, training_rows, write_training_csv
from mestad_d2.densify.detections.teacher import teacher_cfg
from mestad_d2.densify.formats.coco import VideoFacts
from mestad_d2.densify.formats.csv_files import read_dense_csv, read_people_free
from mestad_d2.densify.formats.outputs import OutputPaths, read_corrected, write_all
from mestad_d2.densify.key_frames import KeyFrame, key_frames
from mestad_d2.densify.pipeline import Settings, densify, detect_videos
from mestad_d2.densify.train_first import keep_or_clear, training_cfg
from mestad_d2.engine import build_trainer
from mestad_d2.formats.label_map import read_label_map
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.inference.action_names import action_names
from mestad_d2.inference.person_detector.sources import use_persons
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.load_config import setup_cfg
from mestad_d2.process_setup import keep_freed_memory
from mestad_d2.semisup.assigner import TemporalLabelAssigner
from mestad_d2.semisup.change_points import exclusive_pairs
from mestad_d2.video.video_locations import locate_videos


def number(text: str, option: str, word: str, least: float) -> float | None:
    """Parse a number of at least ``least``, or None for ``word``."""
    if text == word:
        return None
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not least <= value < 1e6:
        raise UserError(f"{option} {text}: give a number from {least:g} on, or {word}")
    return value


def bar(name: str, items: Iterable, total: int) -> Iterable:
    """Show the progress of one video."""
    return tqdm(items, desc=name, total=total, unit=" frames", mininterval=1.0)


def train(args: Namespace, cfg: CfgNode, keys: dict[str, list[KeyFrame]], names: dict[int, str]) -> CfgNode:
    """Train on the sparse labels, resuming an earlier run; return the config with its weights."""
    start = as_setting(args.start, "--start")
    output = args.output.with_name(args.output.name + ".train")
    plan = training_cfg(cfg, args.annotations, args.videos, keys, names, output, args.exclude, start)
    plan.merge_from_list([value for pair in chosen(args.opts, "SOLVER.", "SEMISUP.") for value in pair])
    plan.freeze()
    keep_or_clear(plan, [args.annotations, *([args.exclude] if args.exclude else [])], args.overwrite)
    default_setup(plan, Namespace(config_file="", eval_only=False, opts=[]))
    trainer = build_trainer(plan)
    trainer.resume_or_load(resume=True)
    trainer.train()
    cfg = plan.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS = str(trainer.demo_weights())
    return cfg


def chosen(opts: list[str], *sections: str) -> list[tuple[str, str]]:
    """Return the user's own options of some sections, which come before any default."""
    pairs = zip(opts[::2], opts[1::2], strict=False)
    return [(key, value) for key, value in pairs if key.startswith(sections)]


def label(args: Namespace) -> None:
    """Detect, label and write."""
    if args.config_file is None:
        raise UserError("--config-file: name the teacher's config")
    settings_rate = number(args.rate, "--rate", "every", 0.01)
    start = as_setting(args.start, "--start")
    paths = OutputPaths(args.output, args.review)
    refuse_overwriting_inputs(
        [args.annotations, args.exclude, args.labels, args.config_file],
        [paths.csv, paths.coco, paths.cvat, paths.review],
    )
    if not args.overwrite:
        paths.refuse_existing()
    cfg = setup_cfg(args.config_file, args.opts, freeze=False)
    if args.persons:
        use_persons(cfg, args.persons, args.persons_weights)
        # With --train-first the action network learns from the annotated boxes.
        cfg.MODEL.ROI_ACTION_HEAD.TRAIN_BOXES = "gt"
    keep_freed_memory(cfg.MODEL.DEVICE)
    names = action_names(cfg, args.labels).names
    keys = key_frames(str(args.annotations), args.exclude)
    locate_videos(list(keys), args.videos)
    if args.train_first:
        cfg = train(args, cfg, keys, names)
    if not cfg.MODEL.WEIGHTS:
        raise UserError("MODEL.WEIGHTS: name the teacher's checkpoint in --opts, or add --train-first")
    cfg = teacher_cfg(cfg)
    settings = Settings(settings_rate, cfg.SEMISUP.MAX_GAP if args.max_gap is None else args.max_gap, start)
    videos = list(detect_videos(cfg, VideoPredictor(cfg), keys, args.videos, paths.parts, settings, bar))
    semisup = cfg.SEMISUP
    assigner = TemporalLabelAssigner(semisup.COST_BCE, semisup.COST_L1, semisup.COST_GIOU)
    exclusive = exclusive_pairs(frame for frames in keys.values() for frame in frames)
    dense = densify(videos, assigner, exclusive)
    if not dense.stretches:
        raise UserError(
            f"{args.annotations}: no two key frames of a video within {settings.max_gap:g} s; raise --max-gap"
        )
    write_all(paths, args.annotations, videos, dense, names, args.review_cards)
    print(
        f"{paths.csv}: {len(dense.rows)} new rows in {len(dense.stretches)} stretches of {len(videos)} videos; "
        f"also {paths.coco} and {paths.cvat}{f', {paths.review}' if paths.review else ''}"
    )


def collect(args: Namespace) -> None:
    """Collect corrected labels to a csv to train on."""
    corrected = args.corrected.rglob("*.xml") if args.corrected.is_dir() else [args.corrected]
    refuse_overwriting_inputs([args.annotations, args.exclude, args.labels, *corrected], [args.output])
    if args.output.exists() and not args.overwrite:
        raise UserError(f"{args.output}: is there already; add --overwrite or name another --output")
    start = as_setting(args.start, "--start")
    before = read_dense_csv(args.annotations)
    facts, videos = {}, DatasetVideos(args.videos, start)
    for video_id, path in locate_videos([row.video_id for row in before], args.videos).items():
        source = videos.describe(path, video_id)
        times = frame_times(source)
        facts[video_id] = VideoFacts(video_id, path, source.height, source.width, source.start, times)
    names = read_label_map(args.labels).names if args.labels else {}
    corrected, kept = read_corrected(args.corrected, facts, before, names)
    if kept:
        some = ", ".join(kept[:3]) + (" ..." if len(kept) > 3 else "")
        print(
            f"note: nothing came back of {counted(len(kept), 'video')} ({some}); they keep their rows",
            file=sys.stderr,
        )
    merged = merge_corrections(before, corrected)
    count = write_training_csv(
        args.output, training_rows(merged, args.min_confidence), read_people_free(args.annotations)
    )
    touched = sum(row.confidence is None for row in merged) - sum(row.confidence is None for row in before)
    print(f"{args.output}: {count} of {len(merged)} rows, {max(touched, 0)} of them corrected")


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Label, or collect corrected labels."""
    args = parse(argv)
    if args.corrected is not None:
        collect(args)
    else:
        label(args)


if __name__ == "__main__":
    sys.exit(main())
