"""Oracles: pseudo labels from the ground truth of every frame, as upper bounds for each part."""

from __future__ import annotations

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances, pairwise_iou

from mestad_d2.engine.mean_teacher.pseudo_quality import POSITIVE_IOU, DenseTruth, dense_truth
from mestad_d2.errors import UserError
from mestad_d2.semisup.labelers import PSEUDO_LABELER_REGISTRY, TLA, PseudoLabeler, pseudo_labels


class _Oracle(PseudoLabeler):
    def __init__(self, cfg: CfgNode) -> None:
        self.columns = cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES
        self.truths: list[DenseTruth] = []
        for name in cfg.DATASETS.TRAIN:
            meta = MetadataCatalog.get(name)
            if not meta.get("dense"):
                raise UserError(
                    f"SEMISUP.PSEUDO_LABELER: an oracle needs the csv of every frame of {name}, DENSE"
                )
            self.truths.append(dense_truth(meta.dense, tuple(map(tuple, meta.get("flip_pairs", [])))))

    def truth(self, item: dict) -> Instances:
        """People of a sample's frame that its crop shows."""
        truth = next(t for t in self.truths if item["video_id"] in t).instances(item, self.columns)
        return truth[(truth.gt_boxes.area() > 0).nonzero().flatten()]


@PSEUDO_LABELER_REGISTRY.register()
class OracleLabels(_Oracle):
    """The teacher's boxes with the labels of the true person: the bound of perfect assignment."""

    def label_clip(self, teacher: Instances, item: dict) -> Instances:
        truth = self.truth(item).to(teacher.pred_actions.device)
        actions = torch.zeros_like(teacher.pred_actions)
        mask = torch.zeros(len(teacher), dtype=torch.bool, device=actions.device)
        if len(truth) and len(teacher):
            iou, person = pairwise_iou(teacher.pred_boxes, truth.gt_boxes).max(dim=1)
            mask = iou >= POSITIVE_IOU
            actions[mask] = truth.gt_actions[person[mask]].to(actions)
        return pseudo_labels(teacher, actions, mask)


@PSEUDO_LABELER_REGISTRY.register()
class OracleBoxes(_Oracle):
    """True boxes, which the teacher classifies and Algorithm 1 assigns."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self.tla = TLA(cfg)

    def teacher_boxes(self, item: dict) -> Instances:
        return self.truth(item)

    def label_clip(self, teacher: Instances, item: dict) -> Instances:
        return self.tla.label_clip(teacher, item)


@PSEUDO_LABELER_REGISTRY.register()
class OracleBoth(_Oracle):
    """True boxes and labels: the bound of labelling every frame."""

    needs_teacher = False

    def label_clip(self, teacher: Instances | None, item: dict) -> Instances:
        truth = self.truth(item)
        found = Instances(truth.image_size, pred_boxes=truth.gt_boxes, pred_actions=truth.gt_actions)
        return pseudo_labels(found, truth.gt_actions, torch.ones(len(truth), dtype=torch.bool))
