"""Person boxes of a video's key frames, from a detector that runs as the frames pass, or from a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances

from mestad_d2.data.person_boxes import nobody, read_person_boxes
from mestad_d2.errors import UserError
from mestad_d2.inference.person_detector.base import PersonDetector, build_person_detector
from mestad_d2.people import People
from mestad_d2.video.clips import TIE, later_is_nearer
from mestad_d2.video.stream import StreamFrame


class PersonSource(Protocol):
    """Source of person boxes; one object handles one video at a time."""

    def follow(
        self, frames: Iterable[StreamFrame], keys: Iterable[float], video: str | None = None
    ) -> Iterator[StreamFrame]:
        """Pass the frames of a video on unchanged; ``keys`` are the times of its key frames, in s.

        ``video`` is its name in a file of boxes.
        """

    def people(self, times: Sequence[float], height: int, width: int) -> list[People]:
        """Give the people, boxes in float32 and scores, of the key frames at ``times`` of a video of this size."""


class DetectedPersons:
    """Run a person detector on the key frames as they pass, in batches.

    A key frame's picture is kept from the moment it passes until its boxes are asked for.
    """

    def __init__(self, detector: PersonDetector) -> None:
        self.detector = detector
        # Time spent in the detector, in s, and pictures that it saw.
        self.seconds, self.pictures = 0.0, 0
        self._pictures: dict[float, np.ndarray] = {}
        # Frames are decoded in a thread of their own.
        self._lock = threading.Lock()

    def follow(
        self, frames: Iterable[StreamFrame], keys: Iterable[float], video: str | None = None
    ) -> Iterator[StreamFrame]:
        """Detect on the frame nearest to each key time (the earlier of a tie); see ``PersonSource``."""
        self._pictures.clear()
        keys = iter(keys)
        key, before, now = next(keys, None), None, None
        for frame in frames:
            before, now = now, frame
            while key is not None and key <= now.time:
                later = before is None or later_is_nearer(before.time, now.time, key)
                self._keep(key, now if later else before)
                key = next(keys, None)
            yield frame
        # A key frame may lie after the last frame by float rounding only.
        if now is not None and key is not None and key <= now.time + TIE:
            self._keep(key, now)

    def _keep(self, key: float, frame: StreamFrame) -> None:
        with self._lock:
            self._pictures[key] = frame.image

    def people(self, times: Sequence[float], height: int, width: int) -> list[People]:
        """Return the detected people; see ``PersonSource``."""
        with self._lock:
            pictures = [self._pictures.pop(key) for key in times]
        start = time.perf_counter()
        found = self.detector(pictures)
        self.seconds += time.perf_counter() - start
        self.pictures += len(pictures)
        return [
            People(key, rows[:, :4], rows[:, 4], height=height, width=width)
            for key, rows in zip(times, found, strict=True)
        ]


class FilePersons:
    """Read the boxes from a file of an earlier run or another detector.

    Args:
        path: csv or pickle, see ``read_person_boxes``.

    Raises:
        UserError: the file can't be read.
    """

    def __init__(self, path: str | Path) -> None:
        self._path, self._found = path, read_person_boxes(path)
        self._videos = sorted({name for name, _ in self._found})
        self._video = ""

    def follow(
        self, frames: Iterable[StreamFrame], keys: Iterable[float], video: str | None = None
    ) -> Iterator[StreamFrame]:
        """Pass the frames on without looking at them; see ``PersonSource``.

        Raises:
            UserError: the file has boxes of other videos only.
        """
        if video not in self._videos and len(self._videos) == 1:
            video = self._videos[0]
        if video not in self._videos:
            raise UserError(
                f"{self._path}: no boxes of video {video!r}; it has {', '.join(self._videos[:5]) or 'none'}"
            )
        self._video = video
        yield from frames

    def people(self, times: Sequence[float], height: int, width: int) -> list[People]:
        """Return the file's people, nobody at a time that it lacks; see ``PersonSource``."""
        found = (self._found.get((self._video, round(key, 3)), nobody(key)) for key in times)
        return [people.resized(height, width) for people in found]


def build_person_source(cfg: CfgNode) -> PersonSource:
    """Build what ``MODEL.PERSON_DETECTOR`` names: a detector, or with ``NAME`` "csv" the boxes of a file.

    Raises:
        UserError: see ``build_person_detector`` and ``FilePersons``.
    """
    if cfg.MODEL.PERSON_DETECTOR.NAME == "csv":
        return FilePersons(cfg.MODEL.PERSON_DETECTOR.MODEL)
    return DetectedPersons(build_person_detector(cfg))


def use_persons(cfg: CfgNode, spec: str, weights: str | None = None) -> None:
    """Have the action head classify boxes of a person detector, in place; cfg must not be frozen.

    Args:
        cfg: config of a detector or of an action network.
        spec: ``NAME:MODEL`` as in ``MODEL.PERSON_DETECTOR``, such as ``torchvision:fasterrcnn_resnet50_fpn_v2`` or
            ``csv:boxes.csv``.
        weights: file of the person detector's weights.

    Raises:
        UserError: no such form.
    """
    name, colon, model = spec.partition(":")
    if not colon or not name or not model:
        raise UserError(
            f"--persons {spec}: expected NAME:MODEL, such as torchvision:fasterrcnn_resnet50_fpn_v2, "
            "detectron2:COCO-Detection/faster_rcnn_R_50_FPN_3x.yaml, transformers:FOLDER or csv:boxes.csv"
        )
    node = cfg.MODEL.PERSON_DETECTOR
    node.NAME, node.MODEL = name, model
    if weights is not None:
        node.WEIGHTS = weights
    cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "external"
    # No FPN and no person head, as the boxes replace them.
    cfg.MODEL.PROPOSAL_GENERATOR.NAME = "PrecomputedProposals"


def proposals_of(people: People, clip: tuple[int, int]) -> Instances:
    """Turn people of a frame into proposals in pixels of its ``clip`` (height, width)."""
    proposals = Instances((int(clip[0]), int(clip[1])))
    placed = Boxes(torch.tensor(people.boxes, dtype=torch.float32))
    placed.scale(clip[1] / people.width, clip[0] / people.height)
    proposals.proposal_boxes = placed
    proposals.objectness_logits = torch.tensor(people.scores, dtype=torch.float32)
    return proposals
