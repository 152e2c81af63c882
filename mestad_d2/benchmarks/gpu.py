"""GPU benchmark: clips per second by precision and mode, mixed-precision losses, and memory of training."""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage

from mestad_d2.analysis.memory import GIB, training_memory
from mestad_d2.benchmarks.training import clips
from mestad_d2.benchmarks.two_stage import FixedPeople
from mestad_d2.engine.mean_teacher.step import MeanTeacherStep
from mestad_d2.engine.mean_teacher.teacher import TeacherSelection
from mestad_d2.engine.optim import build_optimizer
from mestad_d2.engine.train_step import SupervisedStep
from mestad_d2.engine.trainer import step_arguments
from mestad_d2.errors import UserError
from mestad_d2.inference.one_pass.segments import Segment
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.speed.modes import SpeedMode, prepare_for_inference
from mestad_d2.load_config import setup_cfg
from mestad_d2.model_zoo import get_config
from mestad_d2.semisup.ema import ModelEMA
from mestad_d2.semisup.labelers import build_pseudo_labeler
from mestad_d2.timing import progress, timed

SPEEDS = {
    "fp32": SpeedMode(),
    "fp32, folded": SpeedMode("fp32", fold_bn=True, channels_last=True),
    "fp16, folded": SpeedMode("fp16", fold_bn=True, channels_last=True),
    "fp16, folded, compiled": SpeedMode("fp16", fold_bn=True, channels_last=True, compile=True),
}
# Configs whose memory column is measured, cheapest first.
ZOO = [
    *(
        "SlowOnly_R50_4x16",
        "SlowFast_R50_8x8",
        "X3D_S_13x6",
        "SlowFast_R50_8x8_Res2-4",
        "SlowFast_R50_8x8_320",
    ),
    *("SlowFast_R101-NL_8x8", "SlowFast_R50_8x8_TLA", "X3D_M_16x5", "MViTv2_S_16x4", "VideoSwin_T_32x2"),
]


def speeds(cfg: CfgNode, args: argparse.Namespace, figures: dict, write: Callable[[], None]) -> None:
    """Measure clips per second by speed mode, clip by clip and in one pass, for key frames one slow-pathway step apart.

    Figures are written after every mode, as the compiled one, the last, may exceed the time.
    """
    size, count = cfg.INPUT.MIN_SIZE_TEST, args.batch * 4
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    for name, speed in SPEEDS.items():
        fast = prepare_for_inference(model, speed)
        fast.proposal_generator = FixedPeople(fast.proposal_generator, 6)
        rate = cfg.INPUT.CLIP.FPS / cfg.INPUT.CLIP.SAMPLING_RATE / max(model.backbone.time_strides)
        predictor = VideoPredictor(cfg, fast, keyframes_per_second=rate, mode="pass")
        grid = predictor.segments.grid
        film = torch.randint(0, 256, (3, grid.frames(count), size, size), dtype=torch.uint8)
        segment = Segment(list(range(count)), 0, [], size, size)
        inputs = [{"clip": film[:, : grid.clip_frames], "height": size, "width": size}] * args.batch

        def in_clips(fast=fast, inputs=inputs) -> None:
            for _ in range(4):
                fast(inputs)

        def passed(predictor=predictor, segment=segment, film=film) -> None:
            list(predictor.predict_segment(segment, film))

        with torch.no_grad():
            first = {"clip": timed(in_clips), "pass": timed(passed)}
            seconds: dict[str, list[float]] = {"clip": [], "pass": []}
            for _ in range(args.runs):
                seconds["clip"].append(timed(in_clips))
                seconds["pass"].append(timed(passed))
        figures[name] = {
            mode: {
                "first_seconds": round(first[mode], 2),
                "key_frames_a_second": round(count / statistics.median(values), 1),
                "quartiles": [round(count / q, 1) for q in statistics.quantiles(values, n=4)[::-2]],
            }
            for mode, values in seconds.items()
        }
        figures[name]["clip / pass"] = round(
            statistics.median(a / b for a, b in zip(seconds["clip"], seconds["pass"], strict=True)), 3
        )
        if speed.compile:
            figures[name]["compiler_works"] = predictor.segments.model.backbone.works and fast.backbone.works
        progress(f"  {name}: {figures[name]}")
        write()


def training_losses(cfg: CfgNode, batch: int) -> dict:
    """Compare the losses of two steps in mixed precision on the GPU and in float32 on the CPU, from equal weights."""
    cfg = cfg.clone()
    cfg.defrost()
    # Dropout draws other numbers on other devices.
    cfg.MODEL.ROI_ACTION_HEAD.DROPOUT = 0.0
    rows = {}
    for device in ("cpu", "cuda"):
        cfg.MODEL.DEVICE = "cpu"
        torch.manual_seed(0)
        model = build_model(cfg).to(device)
        step = SupervisedStep(
            model, clips(cfg, cfg.INPUT.MIN_SIZE_TEST, 4, batch), build_optimizer(cfg, model),
            **{**step_arguments(cfg), "dump_dir": None, "amp": device == "cuda"},
        )  # fmt: skip
        # The default initial scale overflows here, and the compared update would be skipped.
        step.scaler = torch.amp.GradScaler("cuda", enabled=step.amp, init_scale=256.0)
        rows[device] = []
        begin = time.perf_counter()
        with EventStorage() as step.storage:
            for step.iter in range(2):
                step.run_step()
                latest = {name: value[0] for name, value in step.storage.latest().items()}
                rows[device].append({name: x for name, x in latest.items() if "loss" in name})
        progress(f"  {device}: {rows[device]}, {time.perf_counter() - begin:.1f} s")
    gaps = [
        max(abs(one[name] - other[name]) / max(abs(one[name]), 1.0) for name in one)
        for one, other in zip(rows["cpu"], rows["cuda"], strict=True)
    ]
    return {**rows, "largest_difference_of_steps": [round(gap, 5) for gap in gaps]}


def peak_gib(cfg: CfgNode, batch: int) -> float:
    """Measure the peak GiB of a training step on ``batch`` clips, plus as many unlabelled ones with a teacher."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    model = build_model(cfg)
    # As the counted memory: the crop that training sees.
    size = cfg.INPUT.CROP.SIZE[0] if cfg.INPUT.CROP.ENABLED else cfg.INPUT.MIN_SIZE_TEST
    loader, arguments = clips(cfg, size, 4, batch), {**step_arguments(cfg), "dump_dir": None}
    if cfg.SEMISUP.ENABLED:
        step: SupervisedStep = MeanTeacherStep(
            model, loader, build_optimizer(cfg, model), unlabeled_loader=clips(cfg, size, 4, batch),
            ema=ModelEMA(model, cfg.SEMISUP.EMA_DECAY, cfg.SEMISUP.EMA_RAMP), labeler=build_pseudo_labeler(cfg),
            burn_in_iters=0, selection=TeacherSelection(score_thresh=0.0, nms_thresh=1.0, max_boxes=4), **arguments,
        )  # fmt: skip
    else:
        step = SupervisedStep(model, loader, build_optimizer(cfg, model), **arguments)
    with EventStorage() as step.storage:
        for step.iter in range(2):
            step.run_step()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / GIB


def memory(names: list[str], batch: int, until: float) -> dict:
    """Compare estimated and measured GiB of training, config by config, until the clock reaches ``until``."""
    rows = {}
    for name in names:
        if time.perf_counter() > until:
            rows[name] = "left out: the time was over"
            continue
        cfg = get_config(f"AVA-v2.2/{name}.yaml")
        cfg.defrost()
        cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS, cfg.SOLVER.ON_NONFINITE = "cuda", "", "skip"
        counted = training_memory(cfg, batch)["total"]
        try:
            measured = round(peak_gib(cfg, batch), 2)
        except torch.OutOfMemoryError as error:
            rows[name] = {"counted": counted, "measured": str(error).splitlines()[0]}
            continue
        rows[name] = {
            "counted": counted,
            "measured": measured,
            "measured / counted": round(measured / counted, 3),
        }
        progress(f"  {name}: {rows[name]}")
    return rows


def main(argv: list[str] | None = None) -> None:
    """Print the figures as JSON on stdout, progress on stderr."""
    parser = argparse.ArgumentParser(prog="benchmark.py --task gpu", description=__doc__)
    parser.add_argument("--config-file", default="configs/AVA-v2.2/SlowFast_R50_8x8.yaml")
    parser.add_argument("--batch", type=int, default=8, help="clips of a forward (%(default)s)")
    parser.add_argument("--runs", type=int, default=8, help="timed runs of each mode, in turns (%(default)s)")
    parser.add_argument("--train-clips", type=int, default=6, help="clips of a training step (%(default)s)")
    parser.add_argument(
        "--seconds", type=float, default=150.0, help="no config's memory is begun after so many"
    )
    parser.add_argument("--output", type=Path, help="json file for the figures")
    parser.add_argument("--opts", nargs=argparse.REMAINDER, default=[], help="config options KEY VALUE ...")
    args = parser.parse_args(argv)
    begin = time.perf_counter()
    if not torch.cuda.is_available():
        raise UserError("--task gpu: there is no GPU that torch can use")
    cfg = setup_cfg(args.config_file, ["MODEL.DEVICE", "cuda", "MODEL.WEIGHTS", "", *args.opts])
    figures: dict = {"card": torch.cuda.get_device_name(), "torch": torch.__version__, "batch": args.batch}

    def write() -> None:
        # After every part, so that an aborted run keeps its figures.
        figures["seconds"] = round(time.perf_counter() - begin, 1)
        if args.output:
            args.output.write_text(json.dumps(figures, indent=2) + "\n")

    for name, part in {
        "losses": lambda into: into.update(training_losses(cfg, 2)),
        "memory_gib": lambda into: into.update(memory(ZOO, args.train_clips, begin + args.seconds)),
        "speeds": lambda into: speeds(cfg, args, into, write),
    }.items():
        progress(f"{name}:")
        figures[name] = {}
        try:
            part(figures[name])
        except RuntimeError as error:
            figures[name]["failed"] = str(error).strip().splitlines()[0]
        write()
    print(json.dumps(figures, indent=2))
