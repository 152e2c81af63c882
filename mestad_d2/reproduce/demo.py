"""Parts of the demo: controls that separate motion from appearance, and the two heads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from detectron2.config import CfgNode
from torch import nn

from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.errors import UserError
from mestad_d2.formats.files import write_json
from mestad_d2.formats.made_files import changed_since, made_files, note_made, remove_made

logger = logging.getLogger(__name__)

# Endings of the files that tools/demo.py writes and that get a name of their own.
RENAMED = (".mp4", ".csv", ".json", ".png")
# Config changes of each evaluation.
CONTROLS: dict[str, list] = {
    "frame_map": [],
    "frame_map_still": ["INPUT.CLIP.STILL", True],
    "frame_map_gt_boxes": ["MODEL.ROI_ACTION_HEAD.TEST_BOXES", "gt"],
}


def results_of(output: Path, video: str) -> list[Path]:
    """Return the paths of the demo's results; training and evaluation have folders of their own."""
    pictures = [output / f"detections{suffix}" for suffix in RENAMED]
    drawn = [output / "video" / f"{video}{suffix}" for suffix in (*RENAMED, ".jsonl")]
    return [output / "metrics.json", *pictures, *drawn]


def clear_previous(output: Path, results: Sequence[Path]) -> None:
    """Remove what an earlier demo left in ``output``, so that no old figure is taken for a new one.

    Args:
        results: files that the demo will make.

    Raises:
        UserError: one of them is there that no demo made, or that somebody changed; nothing is removed then.
    """
    made = set(made_files(output))
    others = [*changed_since(output), *(path for path in results if path.exists() and path not in made)]
    if others:
        raise UserError(
            f"{others[0]}: is there, and not as a demo made it; move it away or name another --output"
        )
    remove_made(output)
    # Noted before they are made, so that a demo that was stopped can be started again.
    note_made(output, results)


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
    write_json(path, metrics, indent=2)
    for name, value in metrics.items():
        logger.info("%s: %s", name, value)
