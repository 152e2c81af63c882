"""Detect the teacher's people on the wanted frames of a video in one pass over the file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode

from mestad_d2.formats.files import atomic_open
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.people import People
from mestad_d2.video.source import VideoSource


def teacher_cfg(cfg: CfgNode) -> CfgNode:
    """Return the config of a labelling detector: ``SEMISUP.TEACHER_*`` select its people, as in training.

    Where ``MODEL.PERSON_DETECTOR`` finds the people instead, its own thresholds do. Scores of actions are not
    multiplied with the person's: Eq. 6 compares them with labels.
    """
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.PROPOSALS.SCORE_THRESH_TEST = cfg.SEMISUP.TEACHER_SCORE_THRESH
    cfg.MODEL.PROPOSALS.NMS_THRESH_TEST = cfg.SEMISUP.TEACHER_NMS_THRESH
    cfg.MODEL.PROPOSALS.POST_NMS_TOPK_TEST = cfg.SEMISUP.TEACHER_MAX_BOXES
    cfg.MODEL.ROI_ACTION_HEAD.SCORE_WITH_PERSON = False
    if not cfg.MODEL.PERSON_DETECTOR.NAME:
        cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "proposals"
    cfg.freeze()
    return cfg


def detect(
    predictor: VideoPredictor, source: VideoSource | str | os.PathLike[str], times: Sequence[float]
) -> Iterator[People]:
    """Detect the teacher's people at ``times`` (ascending, s since the first frame); each frame is decoded once.

    Boxes are cut to the frame, and those outside left out.

    Raises:
        UserError: nothing there that can be decoded.
    """
    for found in predictor.predict_at(source, times):
        inside = np.clip(found.boxes, 0, np.array([found.width, found.height] * 2, dtype=found.boxes.dtype))
        yield replace(found, boxes=inside).select((inside[:, 2:] > inside[:, :2]).all(axis=1))


def save_people(path: Path, found: dict[int, People], columns: int, fingerprint: str) -> None:
    """Write the people of a video's frames, by frame number, so that an interrupted run continues after it."""
    parts = list(found.values())
    with atomic_open(path, "wb") as file:
        np.savez_compressed(
            file,
            fingerprint=np.array(fingerprint),
            frames=np.array(list(found), dtype=np.int64),
            counts=np.array([len(people) for people in parts], dtype=np.int64),
            moments=np.array([[p.timestamp, p.height, p.width] for p in parts]).reshape(-1, 3),
            boxes=np.concatenate([p.boxes for p in parts] or [np.zeros((0, 4))]),
            scores=np.concatenate([p.scores for p in parts] or [np.zeros(0)]),
            actions=np.concatenate([p.actions for p in parts] or [np.zeros((0, columns))]),
        )


def load_people(path: Path, fingerprint: str) -> dict[int, People] | None:
    """Load what ``save_people`` wrote; None where it is missing or of other settings."""
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["fingerprint"]) != fingerprint:
                return None
            frames, counts, moments = data["frames"], data["counts"], data["moments"]
            columns = [data[name] for name in ("boxes", "scores", "actions")]
    except (OSError, ValueError, KeyError, EOFError):
        return None
    ends = np.cumsum(counts)
    return {
        int(frame): People(
            float(time), *(column[end - count : end] for column in columns), None, int(height), int(width)
        )
        for frame, count, end, (time, height, width) in zip(frames, counts, ends, moments, strict=True)
    }
