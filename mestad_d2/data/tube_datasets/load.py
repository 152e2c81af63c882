"""From ground-truth tubes to detectron2 dataset dicts: every frame, or every k-th, is a key frame."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from detectron2.structures import BoxMode

from mestad_d2.data.video_sources import DatasetVideos
from mestad_d2.errors import UserError
from mestad_d2.formats.tubes.ground_truth import read_truth
from mestad_d2.formats.tubes.records import Tubes, VideoInfo

# Of all videos of the three datasets, where a folder of frames can't say it.
FPS = 25.0


def load_tube_dataset(
    video_root: str,
    truth: str,
    part: str,
    split: int = 1,
    test_list: str | None = None,
    step: int = 1,
    fps: float = FPS,
) -> list[dict]:
    """Load labelled dataset dicts, one per key frame; frames without people are key frames too.

    Args:
        video_root: folder of videos or folders of frames, named as in the ground truth (``Class/video``).
        truth, part, split, test_list: see ``read_truth``.
        step: every ``step``-th frame from the first is a key frame.
        fps: of folders of frames; video files know their own.

    Returns:
        dicts as of ``load_ava``: ``timestamp`` is (frame - 1) / fps, ``action_ids`` count from 1, boxes are in
        pixels of the video even where the ground truth has another size.

    Raises:
        UserError: a file is missing or malformed, or ``step`` is below 1.
    """
    if step < 1:
        raise UserError(f"DATASETS.KEYFRAME_STEP: {step} is below 1; every step-th frame is a key frame")
    dataset, tubes = read_truth(truth, split=split, test_list=test_list, part=part)
    sources = DatasetVideos(video_root, 0.0, fps).sources(list(dataset.names))
    by_frame = _people(tubes)
    dicts = []
    for v, video in enumerate(dataset.videos):
        info = sources[video.name]
        scale = _scale(video, info.height, info.width)
        fields = {
            "file_name": str(info),
            "source": info,
            "video_id": video.name,
            "start": info.start,
            "fps": info.fps,
            "height": info.height,
            "width": info.width,
            "excluded": False,
        }
        for frame in range(1, video.frames + 1, step):
            time = (frame - 1) / info.fps
            dicts.append(
                {
                    **fields,
                    "timestamp": time,
                    "image_id": f"{video.name},{time:.6f}",
                    "annotations": [_annotation(*person, scale) for person in by_frame.get((v, frame), ())],
                }
            )
    return dicts


def _people(tubes: Tubes) -> dict[tuple[int, int], list[tuple[int, int, np.ndarray]]]:
    """(video, frame) -> (tube within the video, label, box) of everyone there."""
    number, seen = [], defaultdict(int)
    for video in tubes.video.tolist():
        number.append(seen[video])
        seen[video] += 1
    people = defaultdict(list)
    for i, frame, box in zip(tubes.owner.tolist(), tubes.frame.tolist(), tubes.boxes, strict=True):
        people[int(tubes.video[i]), frame].append((number[i], int(tubes.label[i]), box))
    return people


def _annotation(person: int, label: int, box: np.ndarray, scale: np.ndarray) -> dict:
    return {
        "bbox": (box * scale).tolist(),
        "bbox_mode": BoxMode.XYXY_ABS,
        "category_id": 0,
        "action_ids": [label + 1],
        "person_id": person,
    }


def _scale(video: VideoInfo, height: int, width: int) -> np.ndarray:
    """Factors from the ground truth's pixels to the file's."""
    if not (video.height and video.width):
        return np.ones(4)
    return np.array([width / video.width, height / video.height] * 2)


def label_map_path(dataset: str) -> Path:
    """Return the path of the packaged label map of "ucf101_24", "jhmdb" or "multisports"."""
    return Path(__file__).parent / "label_maps" / f"{dataset}.txt"
