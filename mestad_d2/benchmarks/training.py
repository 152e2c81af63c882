"""Benchmark of a mean-teacher step, and the label assigner's share of it (paper, section 3.4)."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage

from mestad_d2.engine.mean_teacher.step import MeanTeacherStep
from mestad_d2.engine.mean_teacher.teacher import TeacherSelection
from mestad_d2.engine.optim import build_optimizer
from mestad_d2.engine.trainer import step_arguments
from mestad_d2.load_config import setup_cfg
from mestad_d2.process_setup import keep_freed_memory
from mestad_d2.semisup.ema import ModelEMA
from mestad_d2.semisup.labelers import build_pseudo_labeler


def people(count: int, size: int, columns: int, generator: torch.Generator) -> Instances:
    """Make ``count`` persons with random boxes and about two labels each, in a square clip of ``size`` pixels."""
    corner = torch.rand(count, 2, generator=generator) * size * 0.6
    extent = (0.15 + 0.25 * torch.rand(count, 2, generator=generator)) * size
    return Instances(
        (size, size),
        gt_boxes=Boxes(torch.cat([corner, corner + extent], dim=1)),
        gt_classes=torch.zeros(count, dtype=torch.long),
        gt_actions=(torch.rand(count, columns, generator=generator) < 2 / columns).float(),
    )


def clips(cfg: CfgNode, size: int, actors: int, batch: int) -> Iterator[list[dict]]:
    """Yield endless batches of noise with ``actors`` people, labelled and with both neighbours."""
    generator = torch.Generator().manual_seed(0)
    shape, columns = (3, cfg.INPUT.CLIP.NUM_FRAMES, size, size), cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES
    while True:
        yield [
            {
                "clip": torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
                "instances": people(actors, size, columns, generator),
                "left_instances": people(actors, size, columns, generator),
                "right_instances": people(actors, size, columns, generator),
                "video_id": "noise",
                "timestamp": 0.0,
            }
            for _ in range(batch)
        ]


def timed(function: Callable, seconds: list[float]) -> Callable:
    """Wrap ``function`` so that its durations are appended to ``seconds``."""

    def call(*args, **kwargs):
        start = time.perf_counter()
        result = function(*args, **kwargs)
        seconds.append(time.perf_counter() - start)
        return result

    return call


def benchmark(cfg: CfgNode, size: int, actors: int, batch: int, steps: int) -> dict[str, float]:
    """Measure the median seconds over ``steps`` steps after one warm-up; ``assigner_share`` is in percent of the step.

    The teacher's score threshold is 0, so that its random weights find ``actors`` people too.
    """
    torch.manual_seed(0)
    model = build_model(cfg)
    labeler, labelling = build_pseudo_labeler(cfg), []
    labeler.label = timed(labeler.label, labelling)
    step = MeanTeacherStep(
        model,
        clips(cfg, size, actors, batch),
        build_optimizer(cfg, model),
        unlabeled_loader=clips(cfg, size, actors, batch),
        ema=ModelEMA(model, cfg.SEMISUP.EMA_DECAY, cfg.SEMISUP.EMA_RAMP),
        labeler=labeler,
        burn_in_iters=0,
        selection=TeacherSelection(score_thresh=0.0, nms_thresh=1.0, max_boxes=actors),
        **{**step_arguments(cfg), "dump_dir": None},
    )
    rows = []
    with EventStorage() as step.storage:
        for step.iter in range(steps + 1):
            labelling.clear()
            start = time.perf_counter()
            step.run_step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            rows.append((time.perf_counter() - start, sum(labelling)))
            print(f"step {step.iter} of {steps}: {rows[-1][0]:.3f} s, labels {1e3 * rows[-1][1]:.2f} ms")
        boxes = step.storage.latest()["pseudo/boxes_per_clip"][0]
    whole, assigned = (statistics.median(row[i] for row in rows[1:]) for i in (0, 1))
    return {
        "clips": batch,
        "teacher_boxes_per_clip": boxes,
        "step_seconds": round(whole, 4),
        "assigner_seconds": round(assigned, 6),
        "assigner_share_percent": round(100 * assigned / whole, 4),
    }


def main(argv: list[str]) -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(prog="benchmark.py --task train", description=__doc__)
    parser.add_argument("--config-file", default="configs/AVA-v2.2/SlowFast_R50_8x8_TLA.yaml")
    parser.add_argument("--input-size", type=int, default=256, help="height and width of the clips, pixels")
    parser.add_argument("--actors", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1, help="labelled clips, and as many unlabelled ones")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--output", help="write the figures to this JSON file too")
    parser.add_argument("opts", nargs="*", help="config options KEY VALUE ...")
    args = parser.parse_args(argv)
    cfg = setup_cfg(args.config_file, ["SOLVER.ON_NONFINITE", "skip", *args.opts])
    keep_freed_memory(cfg.MODEL.DEVICE)
    text = json.dumps(benchmark(cfg, args.input_size, args.actors, args.batch, args.steps), indent=1)
    print(text)
    if args.output:
        Path(args.output).write_text(text + "\n")
