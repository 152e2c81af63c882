"""The teacher of mean-teacher training finds people (paper, section 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from detectron2.structures import Instances
from torch import nn


@dataclass(frozen=True)
class TeacherSelection:
    """Which of the teacher's boxes become pseudo labels: SEMISUP.TEACHER_*."""

    score_thresh: float = 0.4
    nms_thresh: float = 0.3
    max_boxes: int = 10


@contextmanager
def labelling(teacher: nn.Module, selection: TeacherSelection) -> Iterator[None]:
    """While it lasts, the teacher finds people by ``selection``, and scores of actions are not multiplied
    with the person's: Eq. 6 compares them with labels."""
    generator, heads = teacher.proposal_generator, teacher.roi_heads
    before = generator.test_selection, teacher.test_boxes, heads.score_with_person
    generator.test_selection = replace(
        before[0],
        score_thresh=selection.score_thresh,
        nms_thresh=selection.nms_thresh,
        max_boxes=selection.max_boxes,
    )
    teacher.test_boxes, heads.score_with_person = "proposals", False
    try:
        yield
    finally:
        generator.test_selection, teacher.test_boxes, heads.score_with_person = before


@torch.no_grad()
def find_people(
    teacher: nn.Module, clips: list[dict], selection: TeacherSelection, amp: bool = False
) -> list[Instances]:
    """The teacher's persons, in the clips' own pixels, with float32 scores.

    Args:
        teacher: in eval mode.
        clips: dicts with ``clip_weak`` (3, T, H, W), or ``clip`` where there is no such view.
    """
    inputs = [{"clip": item.get("clip_weak", item["clip"])} for item in clips]
    with labelling(teacher, selection), torch.autocast("cuda", enabled=amp):
        found = teacher.inference(inputs, do_postprocess=False)
    for person in found:
        person.pred_boxes.tensor = person.pred_boxes.tensor.float()
        person.pred_actions = person.pred_actions.float()
    return found
