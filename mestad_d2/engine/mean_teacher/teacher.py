"""Detection by the teacher of mean-teacher training (paper, section 3.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import nn

from mestad_d2.errors import UserError

DTYPES = {"": None, "float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class TeacherSelection:
    """Which of the teacher's boxes become pseudo labels: SEMISUP.TEACHER_*."""

    score_thresh: float = 0.4
    nms_thresh: float = 0.3
    max_boxes: int = 10


def teacher_dtype(cfg: CfgNode) -> torch.dtype | None:
    """Return the precision that ``SEMISUP.TEACHER_DTYPE`` names; None: that of the student.

    Raises:
        UserError: an unknown name.
    """
    name = cfg.SEMISUP.TEACHER_DTYPE
    if name not in DTYPES:
        raise UserError(
            f"SEMISUP.TEACHER_DTYPE: unknown {name!r}; use {', '.join(filter(None, DTYPES))}, or ''"
        )
    return DTYPES[name]


@torch.no_grad()
def find_people(
    teacher: nn.Module,
    clips: list[dict],
    selection: TeacherSelection,
    dtype: torch.dtype | None = None,
    boxes: list[Instances] | None = None,
) -> list[Instances]:
    """Detect the teacher's persons, in the clips' own pixels, with float32 scores.

    Args:
        teacher: in eval mode.
        clips: dicts with ``clip_weak`` (3, T, H, W), or ``clip`` where there is no such view.
        dtype: in which autocast computes; None: float32.
        boxes: people (``gt_boxes``) of each clip to classify instead of detecting people.
    """
    inputs = [{"clip": item.get("clip_weak", item["clip"])} for item in clips]
    if boxes is not None:
        inputs = [{**item, "instances": given} for item, given in zip(inputs, boxes, strict=True)]
    chosen = replace(
        teacher.proposal_generator.test_selection,
        score_thresh=selection.score_thresh,
        nms_thresh=selection.nms_thresh,
        max_boxes=selection.max_boxes,
    )
    half = dtype if dtype in (torch.bfloat16, torch.float16) else None
    device = next(teacher.parameters()).device.type
    with torch.autocast(device, dtype=half, enabled=half is not None):
        # Eq. 6 compares scores of actions with labels, so they are not multiplied with the person's.
        found = teacher.inference(
            inputs,
            do_postprocess=False,
            selection=chosen,
            test_boxes="proposals" if boxes is None else "gt",
            score_with_person=False,
        )
    for person in found:
        person.pred_boxes.tensor = person.pred_boxes.tensor.float()
        person.pred_actions = person.pred_actions.float()
    return found
