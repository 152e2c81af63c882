"""Benchmark of one video end to end in its own process, for its peak memory."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from detectron2.modeling import build_model

from mestad_d2.benchmarks.two_stage import FixedPeople
from mestad_d2.errors import UserError
from mestad_d2.inference import predictor as predictor_module
from mestad_d2.inference.arguments import (
    add_config_options,
    add_rate_argument,
    add_speed_arguments,
    mode_of_arguments,
)
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.speed.modes import prepare_for_inference
from mestad_d2.load_config import setup_cfg
from mestad_d2.process_setup import keep_freed_memory
from mestad_d2.timing import progress, timed
from mestad_d2.video.clips import clip_tensor

# The network alone is timed on at most this many batches.
TIMED_BATCHES = 20


class CountedFrames:
    """Replacement of ``iterate_frames`` that counts decoded frames."""

    def __init__(self) -> None:
        self.count, self._original = 0, predictor_module.iterate_frames

    def __call__(self, *args: object, **kwargs: object):
        for frame in self._original(*args, **kwargs):
            self.count += 1
            if self.count % 600 == 0:
                progress(f"    {self.count} frames decoded")
            yield frame


def network_alone(predictor: VideoPredictor, batches: list, total: int) -> float:
    """Measure the seconds of the model on ``total`` batches, reusing the ``TIMED_BATCHES`` that are kept."""
    count = min(total, TIMED_BATCHES)
    spent = sum(timed(partial(predictor.predict_batch, batches[i % len(batches)])) for i in range(count))
    return spent * total / count


def run(args: argparse.Namespace) -> dict:
    """Measure frames, key frames, seconds in total and of the network alone, and peak memory (MB)."""
    cfg = setup_cfg(args.config_file, args.opts)
    keep_freed_memory(cfg.MODEL.DEVICE)
    mode = mode_of_arguments(args, cfg.MODEL.DEVICE)
    torch.manual_seed(0)
    model = build_model(cfg)
    model = model.eval() if args.eager else prepare_for_inference(model, mode)
    model.proposal_generator = FixedPeople(model.proposal_generator, args.people)
    predictor = VideoPredictor(
        cfg, model, keyframes_per_second=args.keyframes_per_second, mode=args.mode, **segments(args)
    )
    kept: list = []
    for clip in predictor.clips(args.video) if args.mode == "clip" else ():
        kept.append([(clip, clip_tensor(clip.frames))] * predictor.batch_size)
        if len(kept) == 3:
            break
    if kept:
        network_alone(predictor, kept, 2)

    counter = predictor_module.iterate_frames = CountedFrames()
    found = []
    total = timed(lambda: found.extend(predictor.predict(args.video)))
    figures = {
        "passes": args.mode,
        "mode": "eager fp32" if args.eager else str(mode),
        "frames": counter.count,
        "key_frames": len(found),
        "people": args.people,
        "seconds": round(total, 2),
        "frames_per_s": round(counter.count / total, 1),
        "key_frames_per_s": round(len(found) / total, 2),
        "peak_memory_mb": peak_memory_mb(),
    }
    if kept and not args.no_network:
        alone = network_alone(predictor, kept, -(-len(found) // predictor.batch_size))
        figures |= {"network_seconds": round(alone, 2), "total_over_network": round(total / alone, 3)}
    return figures


def segments(args: argparse.Namespace) -> dict[str, float]:
    """Return ``segment_seconds`` as a keyword argument where the command line sets it."""
    return {"segment_seconds": args.segment_seconds} if args.segment_seconds else {}


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # getrusage counts what the parent held before exec, too.
        peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return round(int(peak.split()[1]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def in_own_process(arguments: list[str]) -> dict:
    """Run this module with these arguments in a new process and return its figures.

    Raises:
        UserError: that process failed.
    """
    command = [sys.executable, "-m", __name__, *arguments]
    paths = [str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise UserError(f"{' '.join(arguments)}: the run on the video failed, its own message is above")
    figures = json.loads(done.stdout.splitlines()[-1])
    progress(f"  {figures}")
    return figures


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", required=True)
    parser.add_argument("--video", required=True)
    add_rate_argument(parser)
    parser.add_argument("--people", type=int, default=6, help="people a key frame, the same in every clip")
    parser.add_argument("--segment-seconds", type=float, help="of a pass; default: the predictor's")
    parser.add_argument("--eager", action="store_true", help="eager fp32, as in training")
    parser.add_argument("--no-network", action="store_true", help="don't time the network alone")
    add_speed_arguments(parser)
    add_config_options(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    print(json.dumps(run(parse())))
