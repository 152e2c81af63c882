"""detectron2 evaluator: video-mAP of tubes linked from key-frame detections, and frame-mAP."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from mestad_d2.errors import UserError
from mestad_d2.evaluation.registry import EVALUATOR_REGISTRY
from mestad_d2.evaluation.tubes.frame_map import frame_map
from mestad_d2.evaluation.tubes.protocols import get_protocol
from mestad_d2.evaluation.tubes.summary import map_json, published_failures, table
from mestad_d2.evaluation.tubes.video_map import video_map
from mestad_d2.formats.files import write_json
from mestad_d2.formats.tubes.csv_files import TubeDataset, write_tubes
from mestad_d2.formats.tubes.ground_truth import read_truth
from mestad_d2.formats.tubes.records import FrameBoxes, Tubes
from mestad_d2.inference.tubes.dense_truth import dense_truth
from mestad_d2.inference.tubes.linkers import check_linker, link

logger = logging.getLogger(__name__)


@EVALUATOR_REGISTRY.register()
class TubeEvaluator(DatasetEvaluator):
    """Collect detections on key frames, link them, and evaluate tubes and frames.

    The ground truth is the dataset's ``tubes`` (UCF101-24, JHMDB, MultiSports), or tubes made of its ``dense``
    csv. ``evaluate`` returns, in percent: ``video_map`` with mAP@0.2, mAP@0.5, mAP@0.75, mAP@0.5:0.95 and AP/<name>
    of the first protocol, ``mAP@0.5_<protocol>`` of the others; ``frame_map`` with mAP on the key frames.

    Args:
        dataset_name: a registered dataset.
        cfg: ``TEST.TUBES`` says protocols, linker and the least score of a detection.
        output_dir: ``tubes.csv`` and ``tube_metrics.json`` are written there; None: not written.
        distributed: gather the detections of all processes.

    Raises:
        UserError: the dataset has no tubes, or a name in ``TEST.TUBES`` is unknown.
    """

    def __init__(
        self, dataset_name: str, cfg: CfgNode, output_dir: str | None = None, distributed: bool = True
    ) -> None:
        settings = cfg.TEST.TUBES
        self._protocols = [get_protocol(name) for name in settings.PROTOCOLS]
        if not self._protocols:
            raise UserError("TEST.TUBES.PROTOCOLS is empty: give one, such as ours")
        self._linker = check_linker(settings.LINKER)
        self._score_thresh = settings.SCORE_THRESH
        self._output_dir = Path(output_dir) if output_dir else None
        self._distributed = distributed
        self._dataset, self._truth = _ground_truth(dataset_name)
        self._index = {name: i for i, name in enumerate(self._dataset.names)}
        self._parts: list[tuple] = []
        self._seen: set[tuple[int, int]] = set()

    def reset(self) -> None:
        """Forget all detections."""
        self._parts, self._seen = [], set()

    def process(self, inputs: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> None:
        """Add the detections of a batch.

        Args:
            inputs: dicts with ``video_id``, ``timestamp``, ``start`` and ``fps``.
            outputs: dicts with ``instances``: pred_boxes in pixels of the video, pred_actions (n, A).
        """
        for given, output in zip(inputs, outputs, strict=True):
            video = self._index.get(given["video_id"])
            if video is None:
                continue
            frame = round((given["timestamp"] - given.get("start", 0.0)) * given["fps"]) + 1
            if (video, frame) in self._seen:
                continue
            self._seen.add((video, frame))
            found = output["instances"].to("cpu")
            info = self._dataset.videos[video]
            size = np.array([found.image_size[1], found.image_size[0]] * 2)
            scale = np.array([info.width, info.height] * 2) / size if info.width else np.ones(4)
            boxes = found.pred_boxes.tensor.double().numpy() * scale
            actions = found.pred_actions.float().numpy()[:, : len(self._dataset.classes)]
            good = np.isfinite(boxes).all(1) & np.isfinite(actions).all(1)
            if not good.all():
                logger.warning("%s: %d detections are not finite; dropped", given["video_id"], (~good).sum())
            person, label = np.nonzero((actions >= self._score_thresh) & good[:, None])
            self._parts.append((video, frame, label, actions[person, label], boxes[person]))

    def evaluate(self) -> OrderedDict[str, dict[str, float]] | None:
        """Compute results in percent on the main process; return None on the others."""
        parts, seen = self._parts, self._seen
        if self._distributed and comm.get_world_size() > 1:
            comm.synchronize()
            gathered = comm.gather((parts, seen), dst=0)
            if not comm.is_main_process():
                return None
            parts = [part for some, _ in gathered for part in some]
            seen = set().union(*(frames for _, frames in gathered))
        found = _frame_boxes(parts, self._dataset.names)
        tubes = link(found, self._dataset, self._linker)
        # Frames without detection are neither missed nor found.
        truth = self._truth.as_frames()
        looked = [key in seen for key in zip(truth.video.tolist(), truth.frame.tolist(), strict=True)]
        return self._results(found, tubes, truth.select(np.array(looked, dtype=bool)))

    def _results(
        self, found: FrameBoxes, tubes: Tubes, frames: FrameBoxes
    ) -> OrderedDict[str, dict[str, float]]:
        classes = self._dataset.classes
        video: dict[str, float] = {}
        frame: dict[str, float] = {}
        judged = []
        for i, protocol in enumerate(self._protocols):
            by_video = video_map(self._truth, tubes, classes, protocol)
            by_frame = frame_map(frames, found, classes, protocol)
            judged += [by_video, by_frame]
            for name, aps in by_video.thresholds.items():
                video[f"mAP@{name}" + (f"_{protocol.name}" if i else "")] = 100 * aps.mean
            frame["mAP" + (f"_{protocol.name}" if i else "")] = 100 * by_frame.thresholds["0.5"].mean
            if not i:
                aps = by_video.thresholds["0.5"].per_class
                video |= {f"AP/{n}": 100 * ap for n, ap in zip(classes, aps, strict=True) if ap == ap}
        counts = dict(enumerate(np.bincount(self._truth.label, minlength=len(classes)).tolist()))
        logger.info("tubes of linker %s:\n%s", self._linker, table(judged[:2], counts))
        for line in published_failures(judged):
            logger.warning(line)
        if self._output_dir:
            content = {f"{r.kind}_mAP_{r.protocol}": map_json(r) for r in judged}
            write_json(self._output_dir / "tube_metrics.json", {"linker": self._linker, **content})
            write_tubes(self._output_dir / "tubes.csv", tubes)
        return OrderedDict(video_map=video, frame_map_all=frame)


def _ground_truth(dataset_name: str) -> tuple[TubeDataset, Tubes]:
    metadata = MetadataCatalog.get(dataset_name)
    where = metadata.get("tubes")
    if where:
        return read_truth(where["path"], None, where["split"], where["test_list"], where["part"])
    if metadata.get("dense"):
        return dense_truth(dataset_name)
    raise UserError(
        f"dataset {dataset_name} has neither tubes nor a csv of every frame (DENSE); TEST.EVALUATORS: use AVAEvaluator"
    )


def _frame_boxes(parts: list[tuple], videos: tuple[str, ...]) -> FrameBoxes:
    # In order of video and frame, whatever process found them.
    parts = sorted(parts, key=lambda part: part[:2])
    count = [len(part[2]) for part in parts]
    return FrameBoxes(
        videos,
        np.repeat(np.array([p[0] for p in parts], dtype=np.int64), count),
        np.repeat(np.array([p[1] for p in parts], dtype=np.int64), count),
        np.concatenate([p[2] for p in parts] or [np.empty(0, np.int64)]),
        np.concatenate([p[3] for p in parts] or [np.empty(0)]).astype(np.float64),
        np.concatenate([p[4] for p in parts] or [np.empty((0, 4))]),
    )
