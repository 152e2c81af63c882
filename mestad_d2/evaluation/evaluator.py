"""detectron2 evaluator: frame-mAP under the published protocols, and person AP."""

from __future__ import annotations

import logging
import math
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from mestad_d2.errors import UserError
from mestad_d2.evaluation.detections import distinct_frames, persons, to_rows, write_csv
from mestad_d2.evaluation.diagnose import explain_zero, few
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS, Protocol, get_protocol
from mestad_d2.evaluation.frame_map.score import FrameMAP, frame_map
from mestad_d2.evaluation.ground_truth import GroundTruth
from mestad_d2.evaluation.person_ap import distinct_persons, person_ap
from mestad_d2.evaluation.registry import EVALUATOR_REGISTRY
from mestad_d2.evaluation.report.tables import none_if_nan, per_class_table, result_json
from mestad_d2.formats.files import write_json
from mestad_d2.formats.label_map import LabelMap, read_label_map
from mestad_d2.people import People

logger = logging.getLogger(__name__)


@EVALUATOR_REGISTRY.register()
class AVAEvaluator(DatasetEvaluator):
    """Collect detections on key frames and evaluate them as AVA does.

    Reads ``ground_truth`` (csv), ``label_map`` or ``action_names``, and ``exclude`` from the dataset's
    metadata. ``evaluate`` returns, in percent as detectron2 does::

        frame_map: mAP (first protocol), mAP_<protocol> (others), mAP_pose, mAP_object, mAP_person
                   (where the label map has these groups), num_classes, AP/<name>;
                   mAP75, mAP50:95 with ``stricter_ious``
        person:    AP50, AP50:95, AR@10

    All files are read when the evaluator is created, so that mistakes in them are found before training, not
    after it. A whole-second protocol is left out, with a message, where the ground truth has fractional timestamps.

    Args:
        dataset_name: a registered dataset.
        protocols: names, the main one first, or a config (``TEST.PROTOCOLS`` and the action head's
            ``SCORE_THRESH_TEST`` are used).
        output_dir: ``detections.csv`` and ``ava_metrics.json`` are written there; None: not written.
        distributed: gather the detections of all processes.
        score_thresh: action scores below it are ignored; None: from the config, or 0.
        prefix: put before the two keys of the results.
        stricter_ious: report the first protocol at IoU 0.75 and over 0.5 to 0.95 too; None: from the config, or False.
    Raises:
        UserError: the metadata or the files it names can't be used.
    """

    def __init__(
        self,
        dataset_name: str,
        protocols: CfgNode | Sequence[str] = ("activitynet", "slowfast"),
        output_dir: str | None = None,
        distributed: bool = True,
        score_thresh: float | None = None,
        prefix: str = "",
        stricter_ious: bool | None = None,
    ) -> None:
        if isinstance(protocols, CfgNode):
            cfg = protocols
            protocols = cfg.TEST.PROTOCOLS
            if score_thresh is None:
                score_thresh = cfg.MODEL.ROI_ACTION_HEAD.SCORE_THRESH_TEST
            if stricter_ious is None:
                stricter_ious = cfg.TEST.STRICTER_IOUS
        self._stricter_ious = bool(stricter_ious)
        self._protocols = [get_protocol(name) for name in protocols]
        if not self._protocols:
            raise UserError("TEST.PROTOCOLS is empty: give one of " + ", ".join(PROTOCOLS))
        self._score_thresh = score_thresh or 0.0
        self._metadata = MetadataCatalog.get(dataset_name)
        if self._metadata.get("persons_only"):
            raise UserError(
                f"DATASETS.TEST: {dataset_name} has people without actions (PERSONS_ONLY), so frame-mAP can't be "
                "computed; use it in DATASETS.TRAIN alone"
            )
        self._dataset_name = dataset_name
        self._output_dir = Path(output_dir) if output_dir else None
        self._distributed = distributed
        self._prefix = prefix
        self._label_map = self._read_label_map()
        self._ground_truth = self._read_ground_truth()
        self._protocols = self._usable_protocols()
        self._frames: list[People] = []

    def reset(self) -> None:
        """Forget all detections."""
        self._frames = []

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Add the detections of a batch.

        Args:
            inputs: dicts with ``video_id`` and ``timestamp``.
            outputs: dicts with ``instances``: pred_boxes in pixels of ``image_size``, scores (n,) and
                pred_actions (n, A).
        """
        for given, output in zip(inputs, outputs, strict=True):
            found = People.from_instances(output["instances"], given["timestamp"], given["video_id"])
            good = np.isfinite(np.column_stack([found.boxes, found.scores, found.actions])).all(axis=1)
            if not good.all():
                logger.warning("%s: %d detections are not finite; dropped", given["video_id"], (~good).sum())
            self._frames.append(found.select(good))

    def evaluate(self) -> OrderedDict[str, dict[str, float]] | None:
        """Compute results in percent on the main process; return None on the others."""
        frames = self._frames
        if self._distributed and comm.get_world_size() > 1:
            comm.synchronize()
            gathered = comm.gather(frames, dst=0)
            if not comm.is_main_process():
                return None
            frames = [f for part in gathered for f in part]
        frames = distinct_frames(frames)
        if self._output_dir:
            self._output_dir.mkdir(parents=True, exist_ok=True)
            fractional = PROTOCOLS["activitynet"]
            rows = to_rows(frames, sorted(self._label_map.names), self._score_thresh, fractional)
            write_csv(self._output_dir / "detections.csv", rows)
        # Persons are counted with any timestamp, without ground-truth scores, with exclusions.
        rules = replace(PROTOCOLS["activitynet"], gt_scores=False, exclusions=True)
        judged = self._frame_maps(frames)
        results: OrderedDict[str, dict[str, float]] = OrderedDict()
        results[self._prefix + "frame_map"] = self._frame_map_results(judged)
        results[self._prefix + "person"] = self._person_results(frames, rules)
        if self._output_dir:
            content = {group: {k: none_if_nan(v) for k, v in r.items()} for group, r in results.items()}
            content["protocols"] = {r.protocol: result_json(r) for r in judged}
            write_json(self._output_dir / "ava_metrics.json", content)
        return results

    def _read_label_map(self) -> LabelMap:
        path = self._metadata.get("label_map")
        if path:
            return read_label_map(path)
        names = self._metadata.get("action_names")
        if not names:
            raise UserError(
                f"dataset {self._dataset_name}: its metadata has neither label_map nor action_names"
            )
        return LabelMap(dict(names))

    def _read_ground_truth(self) -> GroundTruth:
        path = self._metadata.get("ground_truth")
        if not path:
            raise UserError(
                f"dataset {self._dataset_name}: its metadata has no ground_truth csv to evaluate with"
            )
        truth = GroundTruth(path, self._metadata.get("exclude"))
        ids = np.unique(truth.actions)
        if len(ids) and not np.isin(ids, list(self._label_map.names)).any():
            raise UserError(
                f"{path}: none of its action ids ({few(ids.tolist())}) is in the label map "
                f"({few(self._label_map.names)}), so there is nothing to evaluate; write ids of the label map"
            )
        return truth

    def _frame_maps(self, frames: list[People]) -> list[FrameMAP]:
        ids = set(self._label_map.names)
        results = []
        for protocol in self._protocols:
            gt = self._ground_truth.rows(protocol)
            det = to_rows(frames, sorted(ids), self._score_thresh, protocol)
            excluded = self._ground_truth.excluded_keys(protocol)
            result = frame_map(gt, det, self._label_map, protocol, excluded)
            if not results:
                logger.info(
                    "frame-mAP by class (%s):\n%s", protocol.name, per_class_table(result, self._label_map)
                )
                reason = explain_zero(result, gt, det, self._label_map, from_files=False)
                if reason:
                    logger.warning(
                        "%s: frame-mAP is %.1f %%, because %s", self._dataset_name, 100 * result.mAP, reason
                    )
            results.append(result)
        return results

    def _usable_protocols(self) -> list[Protocol]:
        """The protocols that can read every timestamp of the ground truth; the official one if none can."""
        kept = [p for p in self._protocols if self._ground_truth.readable(p)]
        left_out = [p.name for p in self._protocols if p not in kept]
        if not left_out:
            return kept
        kept = kept or [PROTOCOLS["activitynet"]]
        logger.info(
            "%s has timestamps between whole seconds: without protocol %s",
            self._dataset_name,
            ", ".join(left_out),
        )
        return kept

    def _frame_map_results(self, judged: list[FrameMAP]) -> dict[str, float]:
        main = judged[0]
        results = {"mAP": 100 * main.mAP}
        results.update({f"mAP_{r.protocol}": 100 * r.mAP for r in judged[1:]})
        if self._stricter_ious:
            results.update({name: 100 * value for name, value in main.stricter().items()})
        results.update({f"mAP_{g}": 100 * v for g, v in main.groups(self._label_map).items()})
        results["num_classes"] = main.num_classes
        used = Counter(c.name for c in main.per_class.values())
        for c in main.per_class.values():
            if not math.isnan(c.ap):
                # Two ids of one name must not overwrite each other.
                name = c.name if used[c.name] == 1 and c.name else f"{c.name} ({c.id})".strip()
                results[f"AP/{name}"] = 100 * c.ap
        return results

    def _person_results(self, frames: list[People], rules: Protocol) -> dict[str, float]:
        truth = distinct_persons(self._ground_truth.rows(rules), self._ground_truth.excluded_keys(rules))
        figures = person_ap(truth, persons(frames, rules))
        return {name: 100 * value for name, value in figures.items()}
