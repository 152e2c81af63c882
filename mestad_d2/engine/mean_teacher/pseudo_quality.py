"""Quality of pseudo labels, where a csv labels every frame."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor

from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import read_ground_truth

Ratios = dict[str, tuple[float, float]]
# (box in [0, 1], action ids) of each person of a frame.
Frame = list[tuple[tuple[float, float, float, float], set[int]]]
# Half the distance of two frames at 15 fps: a centre further from any row has no truth.
TOLERANCE = 1 / 30
POSITIVE_IOU = 0.5


class DenseTruth:
    """People of every frame of some videos."""

    def __init__(self, path: str | Path, flip_pairs: Sequence[tuple[int, int]] = ()) -> None:
        """Read a csv in AVA's form; ``flip_pairs`` are the ids that a mirror image swaps."""
        self.flip_ids = {a: b for pair in flip_pairs for a, b in (tuple(pair), tuple(pair)[::-1])}
        self.path = path
        persons: dict[str, dict[float, dict[tuple, set[int]]]] = defaultdict(lambda: defaultdict(dict))
        for row in read_ground_truth(str(path)):
            frame = persons[row.video_id][row.timestamp]
            frame.setdefault((row.person_id, row.box), set()).add(row.action_id)
        self._frames: dict[str, dict[float, Frame]] = {
            video: {time: [(box, ids) for (_, box), ids in people.items()] for time, people in times.items()}
            for video, times in persons.items()
        }
        self._times = {video: sorted(times) for video, times in self._frames.items()}

    def __contains__(self, video_id: str) -> bool:
        return video_id in self._frames

    def people(self, video_id: str, timestamp: float) -> Frame:
        """Return the people of the nearest frame, at most ``TOLERANCE`` s away."""
        times = self._times[video_id]
        place = bisect_left(times, timestamp)
        near = min(times[max(place - 1, 0) : place + 1], key=lambda time: abs(time - timestamp))
        return self._frames[video_id][near] if abs(near - timestamp) <= TOLERANCE else []

    def instances(self, item: dict, columns: int) -> Instances:
        """Return the truth of an unlabelled sample in clip pixels: ``gt_boxes``, ``gt_actions`` (G, columns).

        Raises:
            UserError: an action id above ``columns``.
        """
        geometry = item["geometry"]
        people = self.people(item["video_id"], item["timestamp"])
        scale = np.array([geometry.source[1], geometry.source[0]] * 2)
        boxes = geometry.boxes(np.array([box for box, _ in people]).reshape(-1, 4) * scale)
        actions = torch.zeros(len(people), columns)
        for row, (_, ids) in enumerate(people):
            if max(ids) > columns:
                raise UserError(
                    f"{self.path}: action {max(ids)} of {item['video_id']} at {item['timestamp']:g} s is above "
                    f"MODEL.ROI_ACTION_HEAD.NUM_CLASSES = {columns}"
                )
            for action in ids:
                actions[row, (self.flip_ids.get(action, action) if geometry.flip else action) - 1] = 1
        return Instances(
            geometry.size,
            gt_boxes=Boxes(torch.from_numpy(boxes).float().reshape(-1, 4)),
            gt_actions=actions,
        )


@lru_cache(maxsize=8)
def dense_truth(path: str, flip_pairs: tuple[tuple[int, int], ...]) -> DenseTruth:
    """Read a dense csv once a process."""
    return DenseTruth(path, flip_pairs)


def judge_clip(
    found: Instances | None, pseudo: Instances, truth: Instances, threshold: float = 0.5
) -> Ratios:
    """Compare a clip's pseudo labels with the truth; return (numerator, denominator) by name.

    ``on_people``: pseudo boxes with IoU >= 0.5 to somebody; ``labelled``: of those, the ones with pseudo
    labels. Of these, ``exact``: just the right label set; ``exact_thresholded``: the same for the teacher's
    own scores above ``threshold``, where the boxes are those of ``found``; ``precision`` and ``recall``: of single labels.
    """
    boxes, truth = pseudo.gt_boxes.tensor.cpu(), truth.to("cpu")
    if len(truth) and len(boxes):
        iou, person = pairwise_iou(Boxes(boxes), truth.gt_boxes).max(dim=1)
        on_people = iou >= POSITIVE_IOU
    else:
        person, on_people = (
            torch.zeros(len(boxes), dtype=torch.long),
            torch.zeros(len(boxes), dtype=torch.bool),
        )
    judged = on_people & pseudo.gt_action_mask.cpu()
    right = truth.gt_actions[person[judged]] > 0
    given = pseudo.gt_actions.cpu()[judged] >= 0.5
    count, hits = int(judged.sum()), float((given & right).sum())
    ratios = {
        "on_people": (int(on_people.sum()), len(boxes)),
        "labelled": (count, int(on_people.sum())),
        "exact": (_exact(given, right), count),
        "exact_thresholded": (0, 0),
        "precision": (hits, float(given.sum())),
        "recall": (hits, float(right.sum())),
    }
    if found is not None and len(found) == len(pseudo):
        own = found.pred_actions.cpu()[judged] > threshold
        ratios["exact_thresholded"] = (_exact(own, right), count)
    return ratios


def _exact(labels: Tensor, right: Tensor) -> int:
    return int((labels == right).all(dim=1).sum())


def add_ratios(parts: Sequence[Ratios]) -> Ratios:
    """Add up numerators and denominators."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: tuple(sum(part[name][i] for part in parts if name in part) for i in (0, 1)) for name in names
    }


class DenseJudge:
    """Measure batches of pseudo labels; clips whose centre has no row in a dense csv are left out."""

    def __init__(self, dense: Sequence[tuple[str | Path, Sequence[tuple[int, int]]]]) -> None:
        """Paths of dense csv files, each with its dataset's flip pairs."""
        self.truths = [dense_truth(str(path), tuple(map(tuple, pairs))) for path, pairs in dense]

    def __call__(
        self, batch: list[dict], found: Sequence[Instances | None], pseudo: list[Instances]
    ) -> Ratios:
        """Compute the figures of ``judge_clip`` over a batch as ``pseudo/...``; all names, also without clips."""
        parts = [dict.fromkeys(RATIOS, (0, 0))]
        for item, persons, labels in zip(batch, found, pseudo, strict=True):
            truth = next((truth for truth in self.truths if item["video_id"] in truth), None)
            # A frame without rows may have no people or no annotation.
            if truth is not None and truth.people(item["video_id"], item["timestamp"]):
                parts.append(judge_clip(persons, labels, truth.instances(item, labels.gt_actions.shape[1])))
        return {f"pseudo/{name}": ratio for name, ratio in add_ratios(parts).items()}


RATIOS = ("on_people", "labelled", "exact", "exact_thresholded", "precision", "recall")
