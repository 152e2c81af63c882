"""Pseudo labels by thresholds on the teacher's scores, the baselines of Table 5."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.structures import Instances
from torch import Tensor

from mestad_d2.errors import UserError
from mestad_d2.semisup.labelers import PSEUDO_LABELER_REGISTRY, PseudoLabeler, neighbours, pseudo_labels


def thresholded(
    teacher: Instances, left: Instances | None, right: Instances | None, threshold: float | Tensor
) -> Instances:
    """Return the classes above ``threshold`` (a number or (A,)) that a neighbour shows as well.

    A person without any such class is background: its box trains L_al, L_ac ignores it (ours, as in TLA).
    """
    scores = teacher.pred_actions
    _, labels = neighbours(teacher, left, right)
    allowed = (labels > 0).any(dim=0)
    actions = ((scores > threshold) & allowed).to(scores)
    return pseudo_labels(teacher, actions, actions.any(dim=1))


@PSEUDO_LABELER_REGISTRY.register()
class HardThreshold(PseudoLabeler):
    """One threshold for all classes, ``SEMISUP.HARD_THRESHOLD``."""

    def __init__(self, cfg: CfgNode) -> None:
        self.threshold = cfg.SEMISUP.HARD_THRESHOLD

    def label(self, teacher: Instances, left: Instances | None, right: Instances | None) -> Instances:
        return thresholded(teacher, left, right, self.threshold)


def per_class_thresholds(scores: Tensor, counts: Tensor) -> Tensor:
    """Compute thresholds (A,) above which a class is predicted as often as it is labelled.

    Args:
        scores: (K, A), of all persons found on the training set; counts: (A,), labels of each class.

    Returns:
        the middle between the last score that counts and the next one; 0 where even all K are too few, and
        infinity for classes without a label. Equal scores are all above or all below.
    """
    thresholds = scores.new_zeros(scores.shape[1])
    for column, count in enumerate(counts.tolist()):
        ranked = scores[:, column].sort(descending=True).values
        if count == 0:
            thresholds[column] = float("inf")
        elif count < len(ranked):
            thresholds[column] = (ranked[int(count) - 1] + ranked[int(count)]) / 2
    return thresholds


@PSEUDO_LABELER_REGISTRY.register()
class PerClassThreshold(PseudoLabeler):
    """A threshold a class: as many positives on the training set as it has labels."""

    needs_fit = True

    def __init__(self, cfg: CfgNode) -> None:
        self.thresholds: Tensor | None = None

    def fit(self, scores: Tensor, counts: Tensor) -> None:
        self.thresholds = per_class_thresholds(scores.detach().cpu().float(), counts.cpu())

    def label(self, teacher: Instances, left: Instances | None, right: Instances | None) -> Instances:
        if self.thresholds is None:
            raise UserError("PerClassThreshold has no thresholds yet; fit it to the training set first")
        return thresholded(teacher, left, right, self.thresholds.to(teacher.pred_actions.device))

    def state_dict(self) -> dict[str, Any]:
        return {} if self.thresholds is None else {"thresholds": self.thresholds}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if "thresholds" in state:
            self.thresholds = torch.as_tensor(state["thresholds"])
