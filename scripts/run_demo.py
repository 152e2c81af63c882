#!/usr/bin/env python
"""Demo on the toy dataset: render, train, evaluate, and draw a video (`make demo`)."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from detectron2.data import MetadataCatalog
from detectron2.engine import default_setup
from detectron2.utils.logger import setup_logger

from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.engine import build_trainer
from mestad_d2.errors import one_line_errors
from mestad_d2.formats.made_files import note_made
from mestad_d2.load_config import setup_cfg
from mestad_d2.process_setup import keep_freed_memory
from mestad_d2.reproduce.demo import RENAMED, clear_previous, controls, results_of, write_metrics_json

TOOLS = Path(__file__).resolve().parents[1] / "tools"
CONFIG = TOOLS.parent / "configs" / "toy" / "demo.yaml"


def parse() -> argparse.Namespace:
    """Parse the command line of the demo."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", type=Path, default=CONFIG)
    parser.add_argument("--output", type=Path, default=Path("output/demo"))
    parser.add_argument("--datasets", type=Path, default=Path("datasets"))
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="config options KEY VALUE ...")
    return parser.parse_args()


@one_line_errors()
def main(args: argparse.Namespace) -> None:
    """Run the whole job; everything it makes is below ``args.output``."""
    start = time.perf_counter()
    os.environ["DETECTRON2_DATASETS"] = str(args.datasets)
    make_toy(args.datasets / "toy", seed=0)
    cfg = setup_cfg(args.config_file, ["OUTPUT_DIR", str(args.output / "run"), *args.opts])
    videos = Path(MetadataCatalog.get(cfg.DATASETS.TEST[0]).video_root)
    video = sorted(videos.glob("*.mp4"))[-1]
    results = results_of(args.output, video.stem)
    clear_previous(args.output, results)
    keep_freed_memory(cfg.MODEL.DEVICE)
    default_setup(cfg, argparse.Namespace(config_file=str(args.config_file), eval_only=False))
    setup_logger(cfg.OUTPUT_DIR, name="mestad_d2")

    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=False)
    train_start = time.perf_counter()
    trainer.train()
    train_seconds = time.perf_counter() - train_start

    metrics = controls(cfg, trainer.demo_model(), args.output, trainer.final_results())
    metrics["train_seconds"] = round(train_seconds, 1)
    weights = trainer.demo_weights()

    subprocess.run(
        [sys.executable, TOOLS / "demo.py", "--config-file", args.config_file, "--input", video]
        + ["--output", args.output / "video", "--keyframes-per-second", "5"]
        + ["--opts", "MODEL.WEIGHTS", weights, *args.opts],
        check=True,
    )
    for suffix in RENAMED:
        made = args.output / "video" / (video.stem + suffix)
        made.replace(args.output / f"detections{suffix}")
    metrics["total_seconds"] = round(time.perf_counter() - start, 1)
    write_metrics_json(metrics, args.output / "metrics.json")
    note_made(args.output, results)


if __name__ == "__main__":
    main(parse())
