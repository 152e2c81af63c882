"""Strategies that turn a teacher's persons into pseudo ground truth (paper, Table 5).

Shapes: N persons of the teacher, A action columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from fvcore.common.registry import Registry
from torch import Tensor

from mestad_d2.errors import UserError
from mestad_d2.semisup.actors import StretchDetections
from mestad_d2.semisup.assigner import TemporalLabelAssigner

PSEUDO_LABELER_REGISTRY = Registry("PSEUDO_LABELER")
PSEUDO_LABELER_REGISTRY.__doc__ = "Strategies of SEMISUP.PSEUDO_LABELER: classes made of a config."


class PseudoLabeler:
    """Base of the strategies.

    Attributes:
        uses_unlabeled: whether unlabelled clips are used at all.
        needs_fit: whether ``fit`` must see the teacher's scores on the training set first.
        needs_teacher: whether ``label_clip`` needs the teacher's people; if not, it gets None.
        looks: times of every stretch at which the teacher runs for ``fit_stretches``; 0: it gets the key
            frames alone; None: it is not called.
    """

    uses_unlabeled = True
    needs_fit = False
    needs_teacher = True
    looks: int | None = None

    def __init__(self, cfg: CfgNode) -> None:
        pass

    def label(self, teacher: Instances, left: Instances | None, right: Instances | None) -> Instances:
        """Return the pseudo labels of a clip.

        Args:
            teacher: ``pred_boxes`` (N), ``scores`` (N,), ``pred_actions`` (N, A) in [0, 1], in clip pixels.
            left: people of the key frame before, in the same pixels, ``gt_boxes`` and ``gt_actions``; None or
                empty where there is none.
            right: people of the key frame after, alike.

        Returns:
            ``gt_boxes`` (all N: they train L_al), ``gt_classes``, ``gt_actions`` (N, A), ``gt_action_mask``
            (N,), False where L_ac ignores the person, ``gt_source_index`` (N,), the source of a person's labels (an index
            into left, then right; -1: none), and ``gt_costs`` (N,), 0 unless assigned by cost.
        """
        raise NotImplementedError

    def label_clip(self, teacher: Instances | None, item: dict) -> Instances:
        """Return the pseudo labels of an unlabelled sample; training calls this.

        Args:
            teacher: as in ``label``; None without ``needs_teacher``.
            item: the mapper's sample, with ``left_instances``, ``right_instances``, ``timestamp``,
                ``left_timestamp``, ``right_timestamp`` (s; None where there is no neighbour).
        """
        return self.label(teacher, item["left_instances"], item["right_instances"])

    def teacher_boxes(self, item: dict) -> Instances | None:
        """Return the boxes (``gt_boxes``) for the teacher to classify; None: the teacher detects people itself."""
        return None

    def fit_stretches(self, stretches: Sequence[StretchDetections]) -> None:
        """Learn from the teacher's detections in every stretch of the training set; see ``looks``."""

    def fit(self, scores: Tensor, counts: Tensor) -> None:
        """Learn from the teacher's scores (K, A) on the training set, which has ``counts`` (A,) labels."""

    def state_dict(self) -> dict[str, Any]:
        """Return what ``fit`` learnt."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``."""


def pseudo_labels(
    teacher: Instances,
    actions: Tensor,
    mask: Tensor,
    source_index: Tensor | None = None,
    costs: Tensor | None = None,
) -> Instances:
    """Return the teacher's persons as ground truth with the given ``actions`` (N, A) and fields (N,)."""
    truth = Instances(teacher.image_size)
    truth.gt_boxes = teacher.pred_boxes.clone()
    truth.gt_classes = torch.zeros(len(teacher), dtype=torch.long, device=actions.device)
    truth.gt_actions = actions
    truth.gt_action_mask = mask
    truth.gt_source_index = torch.full_like(truth.gt_classes, -1) if source_index is None else source_index
    truth.gt_costs = torch.zeros(len(teacher), device=actions.device) if costs is None else costs
    return truth


def neighbours(teacher: Instances, left: Instances | None, right: Instances | None) -> tuple[Tensor, Tensor]:
    """Return boxes (M, 4) and labels (M, A) of both key frames together (Algorithm 1, line 2)."""
    actions = teacher.pred_actions
    people = [side.to(actions.device) for side in (left, right) if side is not None and len(side)]
    boxes = [actions.new_zeros(0, 4), *(side.gt_boxes.tensor.to(actions) for side in people)]
    labels = [actions.new_zeros(0, actions.shape[1]), *(side.gt_actions.to(actions) for side in people)]
    return torch.cat(boxes), torch.cat(labels)


@PSEUDO_LABELER_REGISTRY.register()
class TLA(PseudoLabeler):
    """Temporal label assignment (paper, Algorithm 1)."""

    def __init__(self, cfg: CfgNode) -> None:
        semisup = cfg.SEMISUP
        self.assigner = TemporalLabelAssigner(semisup.COST_BCE, semisup.COST_L1, semisup.COST_GIOU)

    def label(self, teacher: Instances, left: Instances | None, right: Instances | None) -> Instances:
        boxes, labels = neighbours(teacher, left, right)
        scores = teacher.pred_actions
        index, costs = self.assigner(teacher.pred_boxes.tensor, scores, boxes, labels, teacher.image_size)
        assigned = index >= 0
        actions = torch.zeros_like(scores)
        actions[assigned] = labels[index[assigned]]
        return pseudo_labels(teacher, actions, assigned, index, costs)


@PSEUDO_LABELER_REGISTRY.register()
class EMA(PseudoLabeler):
    """No pseudo labels: the teacher averages a student that sees labelled clips only."""

    uses_unlabeled = False


def build_pseudo_labeler(cfg: CfgNode) -> PseudoLabeler:
    """Build the strategy that ``SEMISUP.PSEUDO_LABELER`` names.

    Raises:
        UserError: there is no such strategy.
    """
    name = cfg.SEMISUP.PSEUDO_LABELER
    if name not in PSEUDO_LABELER_REGISTRY:
        known = ", ".join(sorted(key for key, _ in PSEUDO_LABELER_REGISTRY))
        raise UserError(f"SEMISUP.PSEUDO_LABELER: no strategy {name!r}; choose one of {known}")
    return PSEUDO_LABELER_REGISTRY.get(name)(cfg)
