"""Each strategy on cases that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.structures import Boxes, Instances

from mestad_d2.config import add_mestad_config
from mestad_d2.errors import UserError
from mestad_d2.semisup import PSEUDO_LABELER_REGISTRY, build_pseudo_labeler
from mestad_d2.semisup.thresholds import per_class_thresholds

SIZE = (100, 100)
LEFT, MIDDLE, RIGHT = [0.0, 0, 20, 50], [40.0, 0, 60, 50], [80.0, 0, 100, 50]


def make_cfg(name: str) -> CfgNode:
    """Default keys with a strategy."""
    cfg = get_cfg()
    add_mestad_config(cfg)
    cfg.SEMISUP.PSEUDO_LABELER = name
    return cfg


def teacher(boxes: list, actions: list) -> Instances:
    """What inference gives."""
    actions = torch.tensor(actions, dtype=torch.float32).reshape(-1, 3)
    boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    return Instances(SIZE, pred_boxes=boxes, scores=torch.ones(len(actions)), pred_actions=actions)


def people(boxes: list, actions: list) -> Instances:
    """A key frame."""
    actions = torch.tensor(actions, dtype=torch.float32).reshape(-1, 3)
    return Instances(SIZE, gt_boxes=Boxes(torch.tensor(boxes).reshape(-1, 4)), gt_actions=actions)


def test_tla_takes_the_label_of_the_likelier_neighbour_and_leaves_background() -> None:
    # The left person goes from class 0 to class 1; the teacher sees class 1. The third person is nobody's.
    found = teacher([LEFT, RIGHT, MIDDLE], [[0.1, 0.9, 0.1], [0.1, 0.1, 0.9], [0.0, 0.0, 0.0]])
    truth = build_pseudo_labeler(make_cfg("TLA")).label(
        found, people([LEFT], [[1, 0, 0]]), people([LEFT, RIGHT], [[0, 1, 0], [0, 0, 1]])
    )
    # Three people for three persons: without surplus there is no background, so class 0 goes to the middle.
    assert truth.gt_actions.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 0]]
    truth = build_pseudo_labeler(make_cfg("TLA")).label(
        found, None, people([LEFT, RIGHT], [[0, 1, 0], [0, 0, 1]])
    )
    assert truth.gt_actions.tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]
    assert truth.gt_action_mask.tolist() == [True, True, False]
    assert truth.gt_source_index.tolist() == [0, 1, -1]
    assert torch.equal(truth.gt_boxes.tensor, found.pred_boxes.tensor)
    assert truth.gt_classes.tolist() == [0, 0, 0] and float(truth.gt_costs[2]) == 0


def test_thresholds_stay_inside_the_neighbours_classes() -> None:
    found = teacher([LEFT, RIGHT], [[0.9, 0.6, 0.4], [0.4, 0.1, 0.9]])
    sides = people([LEFT], [[1, 0, 0]]), people([LEFT], [[0, 1, 0]])
    truth = build_pseudo_labeler(make_cfg("HardThreshold")).label(found, *sides)
    assert truth.gt_actions.tolist() == [[1, 1, 0], [0, 0, 0]]
    assert truth.gt_action_mask.tolist() == [True, False]
    labeler = build_pseudo_labeler(make_cfg("PerClassThreshold"))
    with pytest.raises(UserError, match="fit"):
        labeler.label(found, *sides)
    labeler.fit(torch.tensor([[0.9, 0.9, 0.1], [0.3, 0.8, 0.2], [0.1, 0.7, 0.3]]), torch.tensor([2, 1, 0]))
    assert labeler.state_dict()["thresholds"].tolist() == pytest.approx([0.2, 0.85, float("inf")])
    other = build_pseudo_labeler(make_cfg("PerClassThreshold"))
    other.load_state_dict(labeler.state_dict())
    assert other.label(found, *sides).gt_actions.tolist() == [[1, 0, 0], [1, 0, 0]]


def test_per_class_thresholds_give_the_number_of_labels() -> None:
    rng = np.random.default_rng(0)
    scores = torch.from_numpy(rng.permutation(1000).reshape(100, 10) / 1000.0)
    counts = torch.from_numpy(rng.integers(0, 100, 10))
    assert torch.equal((scores > per_class_thresholds(scores, counts)).sum(dim=0), counts)
    # More labels than persons found: all of them.
    assert int((scores[:3] > per_class_thresholds(scores[:3], counts + 5)).sum()) >= 29


@pytest.mark.parametrize("name", ["TLA", "HardThreshold"])
@pytest.mark.parametrize("sides", [(None, None), (people([], []), people([LEFT], [[1, 0, 0]]))])
def test_nobody_found_or_no_neighbours(name: str, sides: tuple) -> None:
    labeler = build_pseudo_labeler(make_cfg(name))
    empty = labeler.label(teacher([], []), *sides)
    assert len(empty) == 0 and empty.gt_actions.shape == (0, 3) and empty.gt_action_mask.dtype == torch.bool
    if sides[0] is None:
        assert not labeler.label(teacher([LEFT], [[1, 1, 1]]), *sides).gt_action_mask.any()


def test_names() -> None:
    assert {key for key, _ in PSEUDO_LABELER_REGISTRY} >= {"TLA", "EMA", "HardThreshold", "PerClassThreshold"}
    assert not build_pseudo_labeler(make_cfg("EMA")).uses_unlabeled
    with pytest.raises(UserError, match="HardThreshold"):
        build_pseudo_labeler(make_cfg("None"))
