"""Parts of the demo: the controls that tell motion from appearance, and one head from the other."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

from detectron2.config import CfgNode
from torch import nn

from mestad_d2.engine.trainer import MESTADTrainer

logger = logging.getLogger(__name__)

# What each figure changes in the config of the evaluation.
CONTROLS: dict[str, list] = {
    "frame_map": [],
    "frame_map_still": ["INPUT.CLIP.STILL", True],
    "frame_map_gt_boxes": ["MODEL.ROI_ACTION_HEAD.TEST_BOXES", "gt"],
}


def clear_previous(output: Path) -> None:
    """Remove what an earlier demo left in ``output``, so that no old figure is taken for a new one."""
    for name in ("metrics.json", "detections.mp4", "detections.csv", "detections.json", "detections.png"):
        (output / name).unlink(missing_ok=True)
    shutil.rmtree(output / "video", ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)


def controls(cfg: CfgNode, model: nn.Module, output: Path, final: dict | None = None) -> dict[str, float]:
    """Measure person AP50 and frame-mAP, also with the key frame repeated and with ground-truth boxes.

    Args:
        final: results of ``model`` as it was trained, where they are known already.

    Returns:
        fractions in [0, 1], by the names of ``CONTROLS`` and ``person_ap50``.
    """
    metrics: dict[str, float] = {}
    for name, opts in CONTROLS.items():
        changed = cfg.clone()
        changed.defrost()
        changed.merge_from_list([*opts, "OUTPUT_DIR", str(output / "evaluation" / name)])
        boxes, model.test_boxes = model.test_boxes, changed.MODEL.ROI_ACTION_HEAD.TEST_BOXES
        results = MESTADTrainer.test(changed, model) if opts or not final else final
        model.test_boxes = boxes
        if name == "frame_map":
            metrics["person_ap50"] = round(results["person"]["AP50"] / 100, 4)
        metrics[name] = round(results["frame_map"]["mAP"] / 100, 4)
    return metrics


def write_metrics_json(metrics: dict[str, float], path: Path) -> None:
    """Write the figures and show them."""
    path.write_text(json.dumps(metrics, indent=2) + "\n")
    for name, value in metrics.items():
        logger.info("%s: %s", name, value)
