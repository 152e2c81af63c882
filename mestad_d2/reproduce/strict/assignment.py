"""Compare strategies of pseudo labels directly: one teacher, the same clips, ground truth of every frame."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.structures import Instances, pairwise_iou
from torch import nn

from mestad_d2.data.loaders import build_unlabeled_loader
from mestad_d2.engine.mean_teacher.pseudo_quality import POSITIVE_IOU, dense_truth
from mestad_d2.engine.mean_teacher.teacher import find_people
from mestad_d2.engine.mean_teacher.trainer import fit_to_training_set, teacher_selection
from mestad_d2.semisup import build_pseudo_labeler

# Offsets from the nearer key frame, as shares of the gap.
BINS = 5


class Tally:
    """Sums of one strategy over true persons, with (IoU 0.5) and without a pseudo label."""

    def __init__(self, columns: int) -> None:
        self.people = self.covered = self.exact = 0
        self.hits, self.given, self.true = (np.zeros(columns) for _ in range(3))
        self.wrong = self.weight = 0.0
        self.by_offset: dict[int, list[int]] = defaultdict(lambda: [0, 0])

    def add(self, pseudo: Instances, truth: Instances, offset: float) -> None:
        """Count a clip.

        Args:
            offset: of its moment from the nearer key frame, 0 to 0.5 of the gap.
        """
        pseudo, truth = pseudo.to("cpu"), truth.to("cpu")
        right = truth.gt_actions.numpy() > 0.5
        self.people += len(truth)
        self.true += right.sum(axis=0)
        if not len(truth) or not len(pseudo):
            return
        iou, index = pairwise_iou(pseudo.gt_boxes, truth.gt_boxes).max(dim=1)
        judged = ((iou >= POSITIVE_IOU) & pseudo.gt_action_mask).numpy()
        # A true person counts once, by the pseudo label that covers it best.
        best: dict[int, int] = {}
        for row in np.argsort(-iou.numpy(), kind="stable"):
            if judged[row]:
                best.setdefault(int(index[row]), int(row))
        persons, rows = list(best), list(best.values())
        targets = pseudo.gt_actions.numpy()[rows]
        given, expected = targets >= 0.5, right[persons]
        weights = np.ones_like(targets)
        if pseudo.has("gt_action_weights"):
            weights = pseudo.gt_action_weights.numpy()[rows]
        same = (given == expected).all(axis=1)
        self.covered += len(rows)
        self.exact += int(same.sum())
        self.hits += (given & expected).sum(axis=0)
        self.given += given.sum(axis=0)
        self.wrong += float((weights * np.abs(targets - expected)).sum())
        self.weight += float(weights.sum())
        counts = self.by_offset[min(int(2 * offset * BINS), BINS - 1)]
        counts[0] += int(same.sum())
        counts[1] += len(rows)

    def figures(self) -> dict:
        """Return ``covered``: share of true persons with labels; of those ``exact``: just the right set. ``precision``
        and ``recall`` of single labels, recall over all true persons; ``wrong``: mean absolute error of what
        is taught, a term each action, by its weight; ``by_offset``: ``exact`` from the key frame to the
        middle; ``per_class``: precision and recall."""
        precision = self.hits.sum() / max(self.given.sum(), 1)
        with np.errstate(invalid="ignore", divide="ignore"):
            classes = np.stack([self.hits / self.given, self.hits / self.true], axis=1)
        return {
            "people": self.people,
            "covered": self.covered / max(self.people, 1),
            "exact": self.exact / max(self.covered, 1),
            "precision": precision,
            "recall": self.hits.sum() / max(self.true.sum(), 1),
            "wrong": self.wrong / max(self.weight, 1e-9),
            "by_offset": [self.by_offset[b][0] / max(self.by_offset[b][1], 1) for b in range(BINS)],
            "per_class": [
                [None if np.isnan(v) else round(float(v), 4) for v in row] for row in classes.tolist()
            ],
        }


def judge_labelers(cfg: CfgNode, teacher: nn.Module, names: Sequence[str], clips: int) -> dict[str, dict]:
    """Measure each strategy on the first ``clips`` unlabelled clips of ``DATASETS.TRAIN``, which has DENSE.

    Args:
        cfg: its dataset is taken for the training set in everything: labels, looks, thresholds.
        teacher: in eval mode; it detects people once for all strategies.
    """
    labelers = {}
    for name in names:
        own = cfg.clone()
        own.defrost()
        own.SEMISUP.PSEUDO_LABELER = name
        labelers[name] = build_pseudo_labeler(own)
        fit_to_training_set(own, teacher, labelers[name])
    meta = MetadataCatalog.get(cfg.DATASETS.TRAIN[0])
    dense = dense_truth(meta.dense, tuple(map(tuple, meta.get("flip_pairs", []))))
    columns = cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES
    tallies = {name: Tally(columns) for name in names}
    seen = 0
    for batch in islice(build_unlabeled_loader(cfg), -(-clips // cfg.SOLVER.IMS_PER_BATCH)):
        found = find_people(teacher, batch, teacher_selection(cfg))
        for item, persons in zip(batch, found, strict=True):
            if item["left_timestamp"] is None or item["right_timestamp"] is None:
                continue
            truth = dense.instances(item, columns)
            truth = truth[(truth.gt_boxes.area() > 0).nonzero().flatten()]
            gap = item["right_timestamp"] - item["left_timestamp"]
            place = (item["timestamp"] - item["left_timestamp"]) / gap
            for name, labeler in labelers.items():
                with torch.no_grad():
                    pseudo = labeler.label_clip(persons if labeler.needs_teacher else None, item)
                tallies[name].add(pseudo, truth, min(place, 1 - place))
        seen += len(batch)
    return {name: tally.figures() for name, tally in tallies.items()}
