"""Accuracy of speed modes and one pass: differences to eager float32, and mAP."""

from __future__ import annotations

from collections import defaultdict

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import nn

from mestad_d2.data.loaders import build_test_loader
from mestad_d2.evaluation.evaluator import AVAEvaluator
from mestad_d2.inference.one_pass.detect import slow_stride
from mestad_d2.inference.predictor import VideoPredictor, load_model
from mestad_d2.inference.speed.modes import SpeedMode, prepare_for_inference
from mestad_d2.people import People
from mestad_d2.timing import progress

# Ticks in a step of the slow pathway that are tried, until every key frame of the test set lies on one.
FINEST = 64


def differences(wanted: Instances, found: Instances, sure: float) -> list[tuple[float, float, float]]:
    """Return 1 - IoU and the differences of person and action scores of each person with a score above ``sure``.

    A person that is missing counts as (1, 1, 1).
    """
    wanted = wanted[wanted.scores > sure]
    rows = []
    iou = pairwise_iou(Boxes(wanted.pred_boxes.tensor), Boxes(found.pred_boxes.tensor))
    for index in range(len(wanted)):
        if len(found) == 0 or float(iou[index].max()) < 0.5:
            rows.append((1.0, 1.0, 1.0))
            continue
        other = int(iou[index].argmax())
        person = abs(float(wanted.scores[index] - found.scores[other]))
        action = float((wanted.pred_actions[index] - found.pred_actions[other]).abs().max())
        rows.append((1 - float(iou[index, other]), person, action))
    return rows


@torch.no_grad()
def detect_all(cfg: CfgNode, model: nn.Module) -> tuple[list[Instances], dict[str, float]]:
    """Detect on the first test set's key frames on the CPU; return detections and metrics."""
    name = cfg.DATASETS.TEST[0]
    evaluator = AVAEvaluator(name, cfg)
    evaluator.reset()
    found = []
    for inputs in build_test_loader(cfg, name):
        outputs = model(inputs)
        evaluator.process(inputs, outputs)
        found += [output["instances"].to("cpu") for output in outputs]
    return found, evaluator.evaluate()


def accuracy_of_modes(cfg: CfgNode, modes: list[SpeedMode]) -> dict[str, dict[str, float]]:
    """Measure mAP of eager float32 and of every mode, with 99th percentiles and maxima of the differences.

    Only people with a score 0.1 above the threshold are compared, as rounding decides closer to it.
    """
    model = load_model(cfg)
    wanted, metrics = detect_all(cfg, model)
    figures = {"eager fp32": _points(metrics)}
    progress(f"  eager fp32: {figures['eager fp32']}")
    sure = cfg.MODEL.PROPOSALS.SCORE_THRESH_TEST + 0.1
    for mode in modes:
        found, metrics = detect_all(cfg, prepare_for_inference(model, mode))
        rows = [r for w, f in zip(wanted, found, strict=True) for r in differences(w, f, sure)]
        entry = _points(metrics) | {"people": len(rows)}
        if rows:
            table = torch.tensor(rows)
            for column, name in enumerate(("box_1_minus_iou", "person_score", "action_score")):
                entry[f"{name}_p99"] = round(float(table[:, column].quantile(0.99)), 4)
                entry[f"{name}_max"] = round(float(table[:, column].max()), 4)
        figures[str(mode)] = entry
        progress(f"  {mode}: {entry}")
    return figures


def _points(metrics: dict) -> dict[str, float]:
    return {
        "frame_map_percent": round(metrics["frame_map"]["mAP"], 2),
        "person_ap50_percent": round(metrics["person"]["AP50"], 2),
    }


def rate_that_hits(times: list[float], step: float) -> float:
    """Return key frames per second of the coarsest grid (``step`` s divided) that all ``times`` (s) lie on."""
    for parts in range(1, FINEST + 1):
        tick = step / parts
        if all(abs(time / tick - round(time / tick)) < 0.02 for time in times):
            return parts / step
    return FINEST / step


def as_instances(found: People) -> Instances:
    """Return the detections as the evaluator takes them."""
    return Instances(
        (found.height, found.width),
        pred_boxes=Boxes(torch.from_numpy(found.boxes)),
        scores=torch.from_numpy(found.scores),
        pred_actions=torch.from_numpy(found.actions),
    )


def accuracy_of_passes(cfg: CfgNode, speed: SpeedMode, segment_seconds: float) -> dict[str, dict[str, float]]:
    """Evaluate both modes on the first test set, in percent, and pass minus clip; key frames are at exact times."""
    name = cfg.DATASETS.TEST[0]
    videos: dict[str, list[dict]] = defaultdict(list)
    for item in DatasetCatalog.get(name):
        videos[item["file_name"]].append(item)
    model = prepare_for_inference(load_model(cfg), speed)
    stride = slow_stride(model)
    step = stride * cfg.INPUT.CLIP.SAMPLING_RATE / cfg.INPUT.CLIP.FPS
    times = [item["timestamp"] - item.get("start", 0.0) for items in videos.values() for item in items]
    rate = rate_that_hits(times, step)
    figures = {}
    for mode in ("clip", "pass"):
        evaluator = AVAEvaluator(name, cfg)
        evaluator.reset()
        predictor = VideoPredictor(
            cfg, model, mode=mode, keyframes_per_second=rate, segment_seconds=segment_seconds
        )
        for file, items in videos.items():
            items = sorted(items, key=lambda item: item["timestamp"])
            wanted = [item["timestamp"] - item.get("start", 0.0) for item in items]
            for item, time, found in zip(items, wanted, predictor.predict_at(file, wanted), strict=True):
                # A missing or shifted key frame would invalidate all figures after it.
                assert abs(found.timestamp - time) < 0.02 * step, (file, time, found.timestamp)
                evaluator.process([item], [{"instances": as_instances(found)}])
        metrics = evaluator.evaluate()
        figures[mode] = {
            "frame_map": round(metrics["frame_map"]["mAP"], 2),
            "person_ap50": round(metrics["person"]["AP50"], 2),
        }
        progress(f"  {mode}: {figures[mode]}")
    figures["pass - clip"] = {
        key: round(figures["pass"][key] - figures["clip"][key], 2) for key in figures["clip"]
    }
    return figures
