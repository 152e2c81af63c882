"""Run the teacher once on every stretch of the training set, for strategies that use whole tracks."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from detectron2.config import CfgNode
from detectron2.utils import comm
from torch import nn

from mestad_d2.data.catalog import unlabeled_dicts
from mestad_d2.data.mapper import ClipMapper
from mestad_d2.engine.mean_teacher.teacher import TeacherSelection, find_people
from mestad_d2.engine.stop_signal import StoppableLoader
from mestad_d2.people import People, Person
from mestad_d2.semisup.actors import KeyFrame, StretchDetections


def key_frame(annotations: list[dict], time: float, item: dict) -> KeyFrame:
    """Convert a dataset dict's annotations to a key frame, boxes in [0, 1], in their order."""
    size = np.array([item["width"], item["height"]] * 2)
    people = (
        Person(tuple(np.array(a["bbox"]) / size), frozenset(a["action_ids"]), a["person_id"])
        for a in annotations
    )
    return KeyFrame(time, tuple(people))


def detect_stretches(
    cfg: CfgNode, teacher: nn.Module, selection: TeacherSelection, looks: int
) -> list[StretchDetections]:
    """Run the teacher at ``looks`` evenly spaced moments between every two key frames, and at those.

    Clips are those of testing: no crop, no mirroring. Processes share the clips.
    With 0 looks the teacher is not run, and ``times`` are empty.
    """
    stretches = [
        item
        for name in cfg.DATASETS.TRAIN
        for item in unlabeled_dicts(name, cfg.SEMISUP.MAX_GAP)
        if item["left_timestamp"] is not None and item["right_timestamp"] is not None
    ]
    moments: dict[tuple[str, float], dict] = {}
    for item in stretches if looks else ():
        for time in detection_times(item, looks):
            moments.setdefault((item["video_id"], time), {**item, "timestamp": time, "annotations": []})
    seen = _detect(cfg, teacher, selection, moments)
    result = []
    for item in stretches:
        left, right = (key_frame(item[s], item[f"{s}_timestamp"], item) for s in ("left", "right"))
        times = detection_times(item, looks) if looks else []
        people = [seen[item["video_id"], time] for time in times]
        result.append(StretchDetections(item["video_id"], left, right, np.array(times), people))
    return result


def detection_times(item: dict, looks: int) -> list[float]:
    """Return the moments of a stretch, in s: its two key frames and ``looks`` between."""
    times = np.linspace(item["left_timestamp"], item["right_timestamp"], looks + 2)
    return [round(float(time), 6) for time in times]


def _detect(
    cfg: CfgNode, teacher: nn.Module, selection: TeacherSelection, moments: dict[tuple[str, float], dict]
) -> dict[tuple[str, float], People]:
    mapper, rng, batch = ClipMapper(cfg, False), np.random.default_rng(0), max(cfg.TEST.BATCH_SIZE, 1)
    own = sorted(moments)[comm.get_rank() :: comm.get_world_size()]
    # Clips of one size form a batch.
    by_size: dict[tuple[int, int], list] = defaultdict(list)
    for key in own:
        by_size[moments[key]["height"], moments[key]["width"]].append(key)
    parts = [keys[i : i + batch] for keys in by_size.values() for i in range(0, len(keys), batch)]
    seen: dict[tuple[str, float], People] = {}
    for part in StoppableLoader(parts, before_step=True):
        found = find_people(teacher, [mapper(moments[key], rng) for key in part], selection)
        seen.update((key, People.from_instances(one, key[1])) for key, one in zip(part, found, strict=True))
    return {key: people for part in comm.all_gather(seen) for key, people in part.items()}
