"""Detect the teacher's people on the wanted frames of a video in one pass over the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode

from mestad_d2.formats.files import atomic_open
from mestad_d2.inference.predictor import KeyframeDetections, VideoPredictor
from mestad_d2.semisup.tracks import Sighting
from mestad_d2.video.source import VideoSource


def teacher_cfg(cfg: CfgNode) -> CfgNode:
    """Return the config of a labelling detector: ``SEMISUP.TEACHER_*`` select its people, as in training.

    Scores of actions are not multiplied with the person's: Eq. 6 compares them with labels.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.PROPOSALS.SCORE_THRESH_TEST = cfg.SEMISUP.TEACHER_SCORE_THRESH
    cfg.MODEL.PROPOSALS.NMS_THRESH_TEST = cfg.SEMISUP.TEACHER_NMS_THRESH
    cfg.MODEL.PROPOSALS.POST_NMS_TOPK_TEST = cfg.SEMISUP.TEACHER_MAX_BOXES
    cfg.MODEL.ROI_ACTION_HEAD.SCORE_WITH_PERSON = False
    cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "proposals"
    cfg.freeze()
    return cfg


def watch(
    predictor: VideoPredictor, source: VideoSource | str | os.PathLike[str], times: Sequence[float]
) -> Iterator[tuple[float, Sighting]]:
    """Detect the teacher's people at ``times`` (ascending, s since the first frame); each frame is decoded once.

    Raises:
        UserError: nothing there that can be decoded.
    """
    for found in predictor.predict_at(source, times):
        yield found.timestamp, _sighting(found)


def _sighting(found: KeyframeDetections) -> Sighting:
    size = np.array([found.width, found.height] * 2, dtype=np.float64)
    boxes = np.clip(found.boxes.reshape(-1, 4) / size, 0.0, 1.0)
    keep = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Sighting(boxes[keep], found.scores[keep], found.actions[keep])


def save_sightings(path: Path, found: dict[int, Sighting], columns: int, fingerprint: str) -> None:
    """Write the people of a video's frames, by frame number, so that an interrupted run continues after it."""
    counts = [len(sighting.scores) for sighting in found.values()]
    parts = list(found.values())
    with atomic_open(path, "wb") as file:
        np.savez_compressed(
            file,
            fingerprint=np.array(fingerprint),
            frames=np.array(list(found), dtype=np.int64),
            counts=np.array(counts, dtype=np.int64),
            boxes=np.concatenate([p.boxes for p in parts] or [np.zeros((0, 4))]),
            scores=np.concatenate([p.scores for p in parts] or [np.zeros(0)]),
            actions=np.concatenate([p.actions for p in parts] or [np.zeros((0, columns))]),
        )


def load_sightings(path: Path, fingerprint: str) -> dict[int, Sighting] | None:
    """Load what ``save_sightings`` wrote; None where it is missing or of other settings."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["fingerprint"]) != fingerprint:
                return None
            arrays = {name: data[name] for name in ("frames", "counts", "boxes", "scores", "actions")}
    except (OSError, ValueError, KeyError, EOFError):
        return None
    ends = np.cumsum(arrays["counts"])
    return {
        int(frame): Sighting(*(arrays[name][end - count : end] for name in ("boxes", "scores", "actions")))
        for frame, count, end in zip(arrays["frames"], arrays["counts"], ends, strict=True)
    }
