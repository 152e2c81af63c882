"""Benchmark of a film clip by clip and in one pass: seconds, CPU seconds, and seconds of film per second."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model

from mestad_d2.benchmarks.data import write_film
from mestad_d2.benchmarks.mode_accuracy import accuracy_of_passes
from mestad_d2.benchmarks.two_stage import FixedPeople
from mestad_d2.benchmarks.video import in_own_process
from mestad_d2.errors import UserError
from mestad_d2.inference.arguments import add_config_options, add_speed_arguments, mode_of_arguments
from mestad_d2.inference.predictor import SEGMENT_SECONDS, VideoPredictor
from mestad_d2.inference.speed.modes import prepare_for_inference
from mestad_d2.load_config import setup_cfg
from mestad_d2.process_setup import keep_freed_memory
from mestad_d2.timing import progress


def clocked(function) -> tuple[float, float]:
    """Measure wall-clock seconds and CPU seconds of all threads of this process, including work on a GPU."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - processor


def compare(cfg: CfgNode, args: argparse.Namespace, film: Path, rate: float) -> dict:
    """Measure the medians of both modes, interleaved, at one rate of key frames, and their ratios within a round."""
    torch.manual_seed(0)
    model = prepare_for_inference(build_model(cfg), mode_of_arguments(args, cfg.MODEL.DEVICE))
    model.proposal_generator = FixedPeople(model.proposal_generator, args.people)
    common = {"keyframes_per_second": rate, "segment_seconds": args.segment_seconds}
    predictors = {mode: VideoPredictor(cfg, model, mode=mode, **common) for mode in ("clip", "pass")}
    count: dict[str, int] = {}
    spent: dict[str, list[tuple[float, float]]] = {mode: [] for mode in predictors}
    for index in range(args.runs):
        for mode in list(predictors)[:: 1 if index % 2 == 0 else -1]:

            def run(mode: str = mode) -> None:
                count[mode] = sum(1 for _ in predictors[mode].predict(str(film)))

            spent[mode].append(clocked(run))
            progress(
                f"  {rate:g} a second, {mode}: {spent[mode][-1][0]:.1f} s, processor {spent[mode][-1][1]:.1f} s"
            )
    figures: dict = {"key_frames": count}
    for place, name in enumerate(("wall", "processor")):
        pairs = sorted(a[place] / b[place] for a, b in zip(spent["clip"], spent["pass"], strict=True))
        low, middle, high = (
            statistics.quantiles(pairs, n=4, method="inclusive") if len(pairs) > 1 else pairs * 3
        )
        figures[name] = {
            **{mode: round(statistics.median(s[place] for s in values), 2) for mode, values in spent.items()},
            "clip / pass": round(middle, 3),
            "quartiles": [round(low, 3), round(high, 3)],
        }
    figures["film_seconds_a_second"] = {
        mode: round(args.seconds / figures["wall"][mode], 3) for mode in predictors
    }
    return figures


def memory(args: argparse.Namespace, film: Path, folder: Path) -> dict:
    """Measure the peak memory (MB) of a pass over the film and over one ``args.long`` seconds long."""
    long = folder / "long.mp4"
    write_film(long, args.long_seconds, size=(720, 1280))
    peaks = {}
    for name, video in (("film", film), ("long", long)):
        arguments = [
            "--config-file",
            str(args.config_file),
            "--video",
            str(video),
            "--no-network",
            "--mode",
            "pass",
        ]
        peaks[name] = in_own_process([*arguments, *(["--opts", *args.opts] if args.opts else [])])[
            "peak_memory_mb"
        ]
    return {**peaks, "long / film": round(peaks["long"] / peaks["film"], 3)}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line of ``tools/benchmark.py --task pass``."""
    parser = argparse.ArgumentParser(prog="benchmark.py --task pass", description=__doc__)
    parser.add_argument("--config-file", required=True)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="of a 720p film that is made (%(default)s)"
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[3.75, 1.0], help="key frames a second")
    parser.add_argument("--runs", type=int, default=3, help="rounds of both modes in turns (%(default)s)")
    parser.add_argument("--people", type=int, default=6, help="people a key frame, the same everywhere")
    parser.add_argument(
        "--segment-seconds", type=float, default=SEGMENT_SECONDS, help="of a pass (%(default)s)"
    )
    parser.add_argument(
        "--long-seconds", type=float, default=0.0, help="compare the memory of a film of this length, too"
    )
    parser.add_argument(
        "--accuracy", action="store_true", help="mAP of DATASETS.TEST in both modes; give weights"
    )
    parser.add_argument("--output", type=Path, help="json file for the figures")
    add_speed_arguments(parser)
    add_config_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print the figures as JSON on stdout, progress on stderr."""
    args = parse(argv)
    if args.runs < 0 or args.seconds <= 0 or min(args.rates) <= 0:
        raise UserError("--runs must be at least 0, --seconds and --rates above 0")
    cfg = setup_cfg(args.config_file, args.opts)
    keep_freed_memory(cfg.MODEL.DEVICE)
    figures: dict = {
        "config": str(args.config_file),
        "speed": str(mode_of_arguments(args, cfg.MODEL.DEVICE)),
        "threads": torch.get_num_threads(),
        "film_seconds": args.seconds,
        "segment_seconds": args.segment_seconds,
    }
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        if args.runs or args.long_seconds:
            write_film(film, args.seconds, size=(720, 1280))
        for rate in args.rates if args.runs else ():
            figures[f"{rate:g} a second"] = compare(cfg, args, film, rate)
        if args.long_seconds:
            figures["peak_memory_mb"] = memory(args, film, Path(folder))
    if args.accuracy:
        figures["accuracy"] = accuracy_of_passes(
            cfg, mode_of_arguments(args, cfg.MODEL.DEVICE), args.segment_seconds
        )
    text = json.dumps(figures, indent=2)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")
