#!/usr/bin/env python
"""Evaluate dense labels where every frame is annotated, against interpolation and the nearest key frame.

scripts/densify_benchmark.py --config-file configs/toy/SlowOnly_tiny.yaml --annotations val.csv --dense dense.csv \
    --videos DIR --output output/densify_benchmark --opts MODEL.WEIGHTS model_final.pth
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

from mestad_d2.densify.detections.teacher import teacher_cfg
from mestad_d2.densify.formats.csv_files import read_dense_csv
from mestad_d2.densify.key_frames import key_frames
from mestad_d2.densify.measure.baselines import baseline_rows, interpolate, nearest
from mestad_d2.densify.measure.dense_truth import (
    Frames,
    measure,
    people_by_frame,
    reliability,
    right_rows,
    wrong_among_least_sure,
)
from mestad_d2.densify.pipeline import Dense, Settings, densify, detect_videos
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.load_config import setup_cfg
from mestad_d2.semisup.assigner import TemporalLabelAssigner
from mestad_d2.semisup.change_points import exclusive_pairs

matplotlib.use("Agg")
ENOUGH_ROWS = 20
FIGURES = ("found", "iou", "precision", "recall", "f1", "moment")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--annotations", type=Path, required=True, help="csv of the annotated key frames")
    parser.add_argument("--dense", type=Path, required=True, help="csv of the truth at every frame")
    parser.add_argument("--videos", required=True)
    parser.add_argument("--output", type=Path, required=True, help="folder of the figures")
    parser.add_argument("--exclude", help="csv video,timestamp of key frames to leave out")
    parser.add_argument("--every", type=int, default=1, help="keep every N-th key frame of a video only")
    parser.add_argument("--max-gap", type=float, help="key frames further apart (s) are no neighbours")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    return parser.parse_args(argv)


def judge_confidence(dense: Dense, truth: Frames) -> dict:
    """Measure wrong rows among the least confident fifth, and the reliability of the confidence."""
    right = right_rows(truth, (found.row for found in dense.rows))
    sure = np.array([found.row.confidence for found in dense.rows])
    known = ~np.isnan(right)
    right, sure = right[known], sure[known]
    return {
        "rows": len(right),
        "wrong": float(1 - right.mean()),
        "wrong_among_least_sure_fifth": wrong_among_least_sure(sure, right),
        "left_out_rows": dense.fitted_on,
        "reliability": reliability(sure, right),
    }


def plot_reliability(path: Path, bins: list[tuple[float, float, int]]) -> None:
    """Plot confidence against the share of right rows; dot sizes show the rows per bin."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.6, 4.6), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="confidence = share")
    sure, right, rows = (np.array(column) for column in zip(*bins, strict=True))
    # Bins of few rows are unreliable and drawn pale.
    many = rows >= ENOUGH_ROWS
    axes.plot(sure[many], right[many], color="tab:blue", linewidth=1)
    for part, alpha in ((many, 0.75), (~many, 0.25)):
        sizes = 12 + 240 * np.sqrt(rows[part] / rows.sum())
        axes.scatter(sure[part], right[part], s=sizes, color="tab:blue", alpha=alpha, linewidth=0)
    for x, y, count in bins:
        axes.annotate(
            f"{count}",
            (x, y),
            textcoords="offset points",
            xytext=(0, -16),
            ha="center",
            fontsize=7,
            color="0.35",
        )
    axes.set(xlim=(0, 1.05), ylim=(-0.08, 1.05), xlabel="mean confidence", ylabel="share of right rows")
    axes.set_title("Rows by confidence (numbers: rows)", fontsize=10)
    axes.legend(frameon=False, loc="upper left", fontsize=8)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Label, evaluate, print a table and write figures.json and reliability.png."""
    args = parse(argv)
    cfg = teacher_cfg(setup_cfg(args.config_file, args.opts))
    if not cfg.MODEL.WEIGHTS:
        raise UserError("MODEL.WEIGHTS: name the teacher's checkpoint, as in --opts MODEL.WEIGHTS model.pth")
    keys = {
        video: frames[:: max(args.every, 1)]
        for video, frames in key_frames(str(args.annotations), args.exclude).items()
    }
    max_gap = cfg.SEMISUP.MAX_GAP if args.max_gap is None else args.max_gap
    args.output.mkdir(parents=True, exist_ok=True)
    found = detect_videos(
        cfg, VideoPredictor(cfg), keys, args.videos, args.output / "parts", Settings(None, max_gap),
        lambda name, items, total: tqdm(items, desc=name, total=total, mininterval=5.0),
    )  # fmt: skip
    videos = list(found)
    truth = people_by_frame(row for row in read_dense_csv(args.dense) if row.video_id in keys)
    semisup = cfg.SEMISUP
    assigner = TemporalLabelAssigner(semisup.COST_BCE, semisup.COST_L1, semisup.COST_GIOU)
    exclusive = exclusive_pairs(frame for frames in keys.values() for frame in frames)
    dense = densify(videos, assigner, exclusive)
    spans = {v.video_id: [(s.left.time, s.right.time) for s in v.stretches] for v in videos}
    methods = {
        "ours": [row.row for row in dense.rows],
        "interpolation, union": baseline_rows(videos, interpolate),
        "nearest key frame": baseline_rows(videos, nearest),
    }
    results = {name: measure(truth, people_by_frame(rows), spans).summary() for name, rows in methods.items()}
    print(f"{'':>22} " + " ".join(f"{name:>9}" for name in FIGURES))
    for name, figures in results.items():
        print(f"{name:>22} " + " ".join(f"{figures[key]:9.4f}" for key in FIGURES))
    sure = judge_confidence(dense, truth)
    print(f"wrong rows: {sure['wrong']:.3f}; of them among the least sure fifth of rows: "
          f"{sure['wrong_among_least_sure_fifth']:.3f}")  # fmt: skip
    (args.output / "figures.json").write_text(json.dumps({"methods": results, "confidence": sure}, indent=1))
    plot_reliability(args.output / "reliability.png", sure["reliability"])


if __name__ == "__main__":
    main()
