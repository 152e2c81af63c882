"""Labels between key frames without a teacher, by interpolation or from the nearest key frame."""

from __future__ import annotations

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances
from torch import Tensor

from mestad_d2.people import Person
from mestad_d2.semisup.actors import Actor, KeyFrame, pair_people
from mestad_d2.semisup.labelers import PSEUDO_LABELER_REGISTRY, PseudoLabeler


def clip_key_frame(people: Instances | None, time: float | None) -> KeyFrame:
    """Return a key frame of a clip: its people in order, boxes as fractions of the clip."""
    if people is None or not len(people):
        return KeyFrame(time if time is not None else float("nan"), ())
    height, width = people.image_size
    boxes = people.gt_boxes.tensor.cpu().double().numpy() / np.array([width, height, width, height])
    labels = people.gt_actions.cpu()
    ids = people.gt_person_ids.tolist() if people.has("gt_person_ids") else [-1] * len(people)
    persons = tuple(
        Person(tuple(box), frozenset((row.nonzero().flatten() + 1).tolist()), number)
        for box, row, number in zip(boxes.tolist(), labels, ids, strict=True)
    )
    return KeyFrame(time if time is not None else float("nan"), persons)


def clip_actors(item: dict) -> tuple[KeyFrame, KeyFrame, list[Actor], float]:
    """Return both key frames of a sample, its actors, and its position between them in [0, 1].

    With one neighbour only, the position is 0 (left) or 1 (right).
    """
    left = clip_key_frame(item["left_instances"], item["left_timestamp"])
    right = clip_key_frame(item["right_instances"], item["right_timestamp"])
    if item["left_timestamp"] is None or item["right_timestamp"] is None:
        place = 0.0 if item["right_timestamp"] is None else 1.0
    else:
        place = (item["timestamp"] - left.time) / (right.time - left.time)
    return left, right, pair_people(left, right), float(np.clip(place, 0.0, 1.0))


def as_ground_truth(
    size: tuple[int, int], boxes: np.ndarray, actions: Tensor, mask: Tensor, like: Tensor
) -> Instances:
    """Convert people to the result of ``PseudoLabeler.label``; ``boxes`` (N, 4) as fractions of the clip."""
    truth = Instances(size)
    scale = np.array([size[1], size[0], size[1], size[0]])
    truth.gt_boxes = Boxes(torch.from_numpy(boxes.reshape(-1, 4) * scale).to(like))
    truth.gt_classes = torch.zeros(len(actions), dtype=torch.long, device=like.device)
    truth.gt_actions, truth.gt_action_mask = actions.to(like), mask.to(like.device)
    truth.gt_source_index = torch.full_like(truth.gt_classes, -1)
    truth.gt_costs = torch.zeros(len(actions), device=like.device)
    return truth


class _WithoutTeacher(PseudoLabeler):
    needs_teacher = False

    def __init__(self, cfg: CfgNode) -> None:
        self.columns = cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES

    def people(self, left: KeyFrame, right: KeyFrame, actors: list[Actor], place: float) -> list[tuple]:
        """(box (4,), action ids) of everybody at ``place``."""
        raise NotImplementedError

    def label_clip(self, teacher: Instances | None, item: dict) -> Instances:
        people = self.people(*clip_actors(item))
        actions = torch.zeros(len(people), self.columns)
        for row, (_, ids) in enumerate(people):
            for action in ids:
                actions[row, action - 1] = 1
        boxes = np.array([box for box, _ in people], dtype=np.float64)
        like = item["left_instances"].gt_actions
        return as_ground_truth(item["left_instances"].image_size, boxes, actions, actions.any(dim=1), like)


@PSEUDO_LABELER_REGISTRY.register()
class NearestKeyFrame(_WithoutTeacher):
    """Boxes and labels of the key frame that is nearer in time."""

    def people(self, left: KeyFrame, right: KeyFrame, actors: list[Actor], place: float) -> list[tuple]:
        return [(p.box, p.actions) for p in (left if place < 0.5 else right).people]


@PSEUDO_LABELER_REGISTRY.register()
class InterpolatedUnion(_WithoutTeacher):
    """Boxes on the straight line between both key frames, with the labels of either.

    A person on one key frame only stays until the middle.
    """

    def people(self, left: KeyFrame, right: KeyFrame, actors: list[Actor], place: float) -> list[tuple]:
        found = []
        for actor in actors:
            ends = [person for person in (actor.left, actor.right) if person is not None]
            if len(ends) == 2 or (place < 0.5) == (actor.left is not None):
                found.append((actor.box_at(place), self.merge([person.actions for person in ends])))
        return found

    @staticmethod
    def merge(labels: list[frozenset[int]]) -> frozenset[int]:
        """Merge an actor's labels of both key frames."""
        return frozenset.union(*labels)


@PSEUDO_LABELER_REGISTRY.register()
class InterpolatedIntersection(InterpolatedUnion):
    """Boxes on the straight line between both key frames, with the labels that both show."""

    @staticmethod
    def merge(labels: list[frozenset[int]]) -> frozenset[int]:
        return frozenset.intersection(*labels)
