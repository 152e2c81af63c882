"""Benchmark of inference: backbone, whole detector, speed modes, two stages, and a video end to end."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from torch import nn

from mestad_d2.benchmarks.data import write_film
from mestad_d2.benchmarks.mode_accuracy import accuracy_of_modes
from mestad_d2.benchmarks.two_stage import FixedPeople, build_action_network, build_person_detector, people
from mestad_d2.benchmarks.video import in_own_process, peak_memory_mb
from mestad_d2.errors import UserError
from mestad_d2.inference.speed.modes import SpeedMode, cpu_has_bf16, prepare_for_inference
from mestad_d2.load_config import setup_cfg
from mestad_d2.timing import progress, ratio, time_interleaved

EAGER, BACKBONE, TWO_STAGE = "detector, eager fp32", "backbone, eager fp32", "two-stage, eager fp32"
# Frames that people's person detectors see (height, width).
PERSON_DETECTOR_SIZE = (800, 1067)
TINY = Path(__file__).resolve().parents[2] / "configs" / "toy" / "SlowOnly_tiny.yaml"


def modes(device: str, *, compiled: bool) -> list[SpeedMode]:
    """Return the modes that are worth measuring on ``device``."""
    lower = "fp16" if device == "cuda" else "bf16" if cpu_has_bf16() else None
    found = [SpeedMode("fp32", fold_bn=True, channels_last=True)]
    if device == "cuda":
        found.append(SpeedMode("bf16", fold_bn=True, channels_last=True))
    if lower:
        found.append(SpeedMode(lower, channels_last=True))
        found.append(SpeedMode(lower, fold_bn=True, channels_last=True))
    if compiled:
        found.append(SpeedMode(lower or "fp32", fold_bn=True, channels_last=True, compile=True))
    return found


def with_people(model: nn.Module, count: int) -> nn.Module:
    """Return the model with a fixed number ``count`` of people in every clip."""
    model.proposal_generator = FixedPeople(model.proposal_generator, count)
    return model


def functions(cfg: CfgNode, args: argparse.Namespace) -> dict[str, Callable[[], object]]:
    """Return the functions to time by name; each does all of its work on one batch of clips."""
    torch.manual_seed(0)
    model = build_model(cfg).eval().requires_grad_(False)
    size, device = args.size, model.device
    clips = torch.randint(0, 256, (args.batch_size, 3, cfg.INPUT.CLIP.NUM_FRAMES, *size), dtype=torch.uint8)
    inputs = [{"clip": clip, "height": size[0], "width": size[1]} for clip in clips]
    normed = clips.to(device).float() / 57.375 - 2
    # Copies first: the model that they are made of gets fixed people later.
    fast = {
        str(mode): prepare_for_inference(model, mode) for mode in modes(device.type, compiled=args.compile)
    }
    timed = {BACKBONE: lambda: model.backbone(normed)}
    with_people(model, args.people)
    timed[EAGER] = lambda: model(inputs)
    for name, copy in fast.items():
        with_people(copy, args.people)
        timed[f"detector, {name}"] = lambda copy=copy: copy(inputs)
    if args.two_stage:
        finder, classifier = build_person_detector(str(device)), build_action_network(cfg)
        frame = {"image": torch.randint(0, 256, (3, *PERSON_DETECTOR_SIZE), dtype=torch.uint8)}
        given = [{**item, "proposals": people(args.people, tuple(size), device)} for item in inputs]
        timed[TWO_STAGE] = lambda: (finder([frame] * len(inputs)), classifier(given))
    return timed


def compare(cfg: CfgNode, args: argparse.Namespace) -> dict:
    """Measure the medians in seconds per clip, and their ratios."""
    seconds = time_interleaved(functions(cfg, args), args.runs)
    medians = {name: round(statistics.median(s) / args.batch_size, 4) for name, s in seconds.items()}
    best = min((name for name in medians if name.startswith("detector")), key=medians.get)
    ratios = {"detector / backbone": ratio(seconds, EAGER, BACKBONE)}
    ratios |= {
        f"eager / {name}": ratio(seconds, EAGER, name) for name in medians if name.startswith("detector")
    }
    del ratios[f"eager / {EAGER}"]
    if args.two_stage:
        ratios["two-stage / detector, both eager"] = ratio(seconds, TWO_STAGE, EAGER)
        ratios["two-stage / best"] = ratio(seconds, TWO_STAGE, best)
    return {"seconds_per_clip": medians, "best": best, "ratios": ratios, "peak_memory_mb": peak_memory_mb()}


def end_to_end(args: argparse.Namespace, folder: Path) -> dict:
    """Measure the fastest mode from video file to detections, and memory against the video's length."""
    video = args.video
    if video is None:
        video = folder / "video.mp4"
        write_film(video, args.seconds, size=(720, 1280))
    common = ["--config-file", str(args.config_file), "--people", str(args.people)]
    options = ["--opts", *args.opts] if args.opts else []
    flags = ["--compile"] if args.compile else []
    progress(f"end to end, {args.seconds:.0f} s of video:" if args.video is None else f"end to end, {video}:")
    figures = {"best mode": in_own_process([*common, "--video", str(video), *flags, *options])}
    if args.long_seconds and args.video is None:
        figures["memory"] = memory_over_length(args, video, folder)
    return figures


def memory_over_length(args: argparse.Namespace, short: Path, folder: Path) -> dict:
    """Measure the peak memory (MB) of the tiny detector on a short and on a long video."""
    long = folder / "long.mp4"
    write_film(long, args.long_seconds, size=(720, 1280))
    peaks = {}
    for name, video, seconds in (("short", short, args.seconds), ("long", long, args.long_seconds)):
        progress(f"memory over {seconds:.0f} s of video:")
        arguments = ["--config-file", str(TINY), "--video", str(video), "--no-network"]
        peaks[name] = in_own_process(arguments)["peak_memory_mb"]
    return {**peaks, "long_over_short": round(peaks["long"] / peaks["short"], 3)}


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line of ``tools/benchmark.py --task inference``."""
    parser = argparse.ArgumentParser(prog="benchmark.py --task inference", description=__doc__)
    parser.add_argument("--config-file", required=True)
    parser.add_argument(
        "--two-stage", action="store_true", help="compare with Faster R-CNN X101 + action network"
    )
    parser.add_argument("--video", type=Path, help="for end to end; default: one of --seconds is made, 720p")
    parser.add_argument("--output", type=Path, help="json file for the figures")
    parser.add_argument("--runs", type=int, default=4, help="rounds of the comparison; 0: leave it out")
    parser.add_argument("--people", type=int, default=6, help="people a key frame, the same everywhere")
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("H", "W"), help="default: MIN_SIZE_TEST, square"
    )
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the video; 0: leave end to end out")
    parser.add_argument(
        "--long-seconds",
        type=float,
        default=600.0,
        help="of a long video whose memory is compared with the short one's; 0: leave it out",
    )
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave compiled modes out")
    parser.add_argument(
        "--accuracy", action="store_true", help="mAP of DATASETS.TEST in every mode; give weights"
    )
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print the figures as JSON on stdout, progress on stderr."""
    args = parse(argv)
    cfg = setup_cfg(args.config_file, args.opts)
    if min(args.runs, args.seconds, args.long_seconds) < 0 or min(args.people, args.batch_size) < 1:
        raise UserError("--runs and seconds are at least 0, --people and --batch-size at least 1")
    if args.output and not args.output.parent.is_dir():
        raise UserError(f"--output {args.output}: there is no folder {args.output.parent}")
    args.size = args.size or [cfg.INPUT.MIN_SIZE_TEST] * 2
    figures = {
        "config": str(args.config_file),
        "device": cfg.MODEL.DEVICE,
        "threads": torch.get_num_threads(),
        "clip": [3, cfg.INPUT.CLIP.NUM_FRAMES, *args.size],
        "batch_size": args.batch_size,
        "people": args.people,
    }
    if args.runs:
        progress("in turns:")
        figures["comparison"] = compare(cfg, args)
    if args.seconds or args.video:
        with tempfile.TemporaryDirectory() as folder:
            figures["end_to_end"] = end_to_end(args, Path(folder))
    if args.accuracy:
        progress("accuracy:")
        figures["accuracy"] = accuracy_of_modes(cfg, modes(cfg.MODEL.DEVICE, compiled=args.compile))
    text = json.dumps(figures, indent=2)
    print(text)
    if args.output:
        args.output.write_text(text + "\n")
