"""Labels by actors: the same as densify's on the same input, and what each strategy adds to Algorithm 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from detectron2.config import CfgNode, get_cfg
from detectron2.structures import Boxes, Instances
from hypothesis import given, settings
from hypothesis import strategies as st

from mestad_d2.config import add_mestad_config
from mestad_d2.densify.stretch import label_stretch
from mestad_d2.people import People
from mestad_d2.semisup import build_pseudo_labeler
from mestad_d2.semisup.actors import StretchDetections
from mestad_d2.semisup.key_frame_labels import clip_actors

SIZE, COLUMNS = (120, 160), 4


def make(name: str, columns: int = COLUMNS) -> CfgNode:
    """A strategy with default keys."""
    cfg = get_cfg()
    add_mestad_config(cfg)
    cfg.SEMISUP.PSEUDO_LABELER = name
    cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES = columns
    return build_pseudo_labeler(cfg)


def people(boxes: list, actions: list, ids: list | None = None) -> Instances:
    """A key frame in a clip's pixels."""
    found = Instances(SIZE)
    found.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    found.gt_actions = torch.tensor(actions, dtype=torch.float32).reshape(-1, COLUMNS)
    found.gt_person_ids = torch.tensor(ids if ids is not None else [-1] * len(boxes), dtype=torch.long)
    found.gt_indices = torch.arange(len(boxes))
    return found


def seen(boxes: list, actions: list) -> Instances:
    """What a teacher finds."""
    actions = torch.tensor(actions, dtype=torch.float32).reshape(-1, COLUMNS)
    boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    return Instances(SIZE, pred_boxes=boxes, scores=torch.full((len(actions),), 0.9), pred_actions=actions)


def sample(left: Instances, right: Instances, time: float = 1.5) -> dict:
    """An unlabelled sample between seconds 1 and 2."""
    return {"left_instances": left, "right_instances": right, "left_timestamp": 1.0, "right_timestamp": 2.0,
            "timestamp": time, "video_id": "a"}  # fmt: skip


def box(x: float, width: float = 30.0) -> list[float]:
    """Somebody at ``x``."""
    return [x, 20.0, x + width, 100.0]


@st.composite
def samples(draw: st.DrawFn) -> tuple[dict, Instances]:
    """Key frames with people who may have ids, and a teacher's people near some of them."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))

    def some(count: int) -> tuple[list, list]:
        corners = rng.uniform(0, 100, (count, 2))
        boxes = np.concatenate([corners * [1, 0.5], corners * [1, 0.5] + rng.uniform(15, 60, (count, 2))], 1)
        actions = rng.random((count, COLUMNS)) < 0.5
        actions[np.arange(count), rng.integers(0, COLUMNS, count)] = True
        return boxes.tolist(), actions.astype(float).tolist()

    boxes, actions = some(draw(st.integers(0, 4)))
    people_stay = draw(st.booleans())
    sides = []
    for count in (len(boxes), draw(st.integers(0, 4))):
        if sides and people_stay:
            # The same people a little further on, who may do something else.
            count, moved = len(boxes), (np.array(boxes).reshape(-1, 4) + 3.0).tolist()
            boxes, actions = moved, some(count)[1]
        elif sides:
            boxes, actions = some(count)
        ids = rng.permutation(6)[:count].tolist() if draw(st.booleans()) and not people_stay else None
        sides.append(people(boxes, actions, ids))
    if not people_stay:
        boxes, _ = some(draw(st.integers(0, 5)))
    item = sample(*sides, time=1 + draw(st.floats(0.05, 0.95)))
    return item, seen(boxes, rng.random((len(boxes), COLUMNS)).tolist())


EXCLUSIVE = frozenset({frozenset((1, 2)), frozenset((3, 4))})


@settings(deadline=None, max_examples=60)
@given(samples(), st.booleans())
def test_training_and_densify_label_the_same_input_alike(drawn: tuple[dict, Instances], known: bool) -> None:
    item, teacher = drawn
    left, right, actors, _ = clip_actors(item)
    pairs = EXCLUSIVE if known else frozenset()
    labelers = {name: make(name) for name in ("SoftTLA", "AgreementTLA", "DenseTLA")}
    for labeler in labelers.values():
        labeler.exclusive = pairs
    found = [People.from_instances(teacher, item["timestamp"])]
    assigner = labelers["SoftTLA"].assigner
    stretch = StretchDetections("a", left, right, np.array([item["timestamp"]]), found)
    dense = label_stretch(stretch, assigner, pairs)
    assert [labels.actor for labels in dense] == actors
    truth, hard, everybody = (labeler.label_clip(teacher, item) for labeler in labelers.values())
    # DenseTLA: whom densify sees in view, in its order, with its likely actions and their certainty as weights.
    there = [labels for labels in dense if labels.there[0] >= 0.5]
    assert len(everybody) == len(there)
    for row, labels in enumerate(there):
        for action in range(1, COLUMNS + 1):
            chance = labels.actions[action][0] if action in labels.actions else 0.0
            assert float(everybody.gt_actions[row, action - 1]) == (chance >= 0.5)
            weight = float(everybody.gt_action_weights[row, action - 1])
            assert weight == pytest.approx(abs(2 * chance - 1), abs=1e-6)
        if labels.track.seen[0]:
            box = teacher.pred_boxes.tensor[int(labels.track.rows[0])].numpy()
            assert everybody.gt_boxes.tensor[row].numpy() == pytest.approx(box, abs=1e-3)
    rows = set()
    for labels in dense:
        if not labels.track.seen[0]:
            continue
        row = int(labels.track.rows[0])
        rows.add(row)
        expected = np.zeros(COLUMNS)
        for action, chance in labels.actions.items():
            expected[action - 1] = chance[0]
        assert truth.gt_actions[row].numpy() == pytest.approx(expected, abs=1e-6)
        taught = {c + 1 for c in range(COLUMNS) if hard.gt_actions[row, c] > 0}
        chosen = {action for action, chance in labels.actions.items() if chance[0] >= 0.5}
        assert taught == chosen
    # Whoever is nobody's actor is background: a box for L_al, nothing for L_ac.
    assert {int(r) for r in torch.nonzero(hard.gt_action_mask).flatten()} <= rows
    assert len(truth) == len(teacher)


def test_people_of_nobody_are_background_where_algorithm_1_gives_labels_away() -> None:
    # One actor stands twice among Algorithm 1's people, so a box of nobody gets the second copy's labels.
    person = [[1.0, 0, 1, 0]]
    item = sample(people([box(10)], person), people([box(10)], person))
    teacher = seen([box(10), box(100)], [[0.9, 0.1, 0.9, 0.1], [0.1, 0.1, 0.1, 0.1]])
    assert make("TLA").label_clip(teacher, item).gt_action_mask.tolist() == [True, True]
    ours = make("ActorTLA").label_clip(teacher, item)
    assert ours.gt_action_mask.tolist() == [True, False]
    assert ours.gt_actions[0].tolist() == person[0] and ours.gt_source_index.tolist() == [0, -1]


def test_boxes_are_moved_to_the_moment_before_costs_are_taken() -> None:
    # Two people swap sides; at the middle the first is where neither key frame has it.
    walker, stander = [1.0, 0, 0, 0], [0, 1.0, 0, 0]
    left = people([box(0), box(50)], [walker, stander], [7, 8])
    right = people([box(100), box(50)], [walker, stander], [7, 8])
    teacher = seen([box(50), box(52)], [[0.8, 0.3, 0, 0], [0.3, 0.8, 0, 0]])
    truth = make("ActorTLA").label_clip(teacher, sample(left, right))
    assert truth.gt_actions.tolist() == [walker, stander]


def test_what_one_key_frame_says_counts_by_distance_and_score() -> None:
    left, right = people([box(10)], [[1.0, 1, 0, 0]]), people([box(10)], [[1.0, 0, 0, 0]])
    near, far, doubt = (
        make("AgreementTLA").label_clip(seen([box(10)], [[0.5, score, 0.5, 0.5]]), sample(left, right, time))
        for time, score in ((1.05, 0.6), (1.95, 0.4), (1.5, 0.5))
    )
    # Both agree on the first action and on the absence of the last two.
    assert all(t.gt_action_weights[0, [0, 2, 3]].tolist() == [1, 1, 1] for t in (near, far, doubt))
    assert near.gt_actions[0].tolist() == [1, 1, 0, 0] and far.gt_actions[0].tolist() == [1, 0, 0, 0]
    assert near.gt_action_weights[0, 1] > 0.8 and far.gt_action_weights[0, 1] > 0.8
    assert doubt.gt_action_weights[0, 1] == pytest.approx(0, abs=1e-6)
    soft = make("SoftTLA").label_clip(seen([box(10)], [[0.5, 0.5, 0.5, 0.5]]), sample(left, right))
    assert soft.gt_actions[0].tolist() == pytest.approx([1, 0.5, 0, 0]) and soft.gt_action_weights.all()


def test_tracks_of_several_looks_find_the_moment_and_survive_a_checkpoint() -> None:
    left, right = people([box(10)], [[1.0, 0, 0, 0]]), people([box(10)], [[1.0, 1, 0, 0]])
    frames = clip_actors(sample(left, right))[:2]
    times = np.linspace(1, 2, 6)
    # The action starts between the looks at 1.6 and 1.8 s.
    looks = [
        People.from_instances(seen([box(10)], [[0.5, 0.9 if t > 1.7 else 0.05, 0, 0]]), t) for t in times
    ]
    labeler = make("TrackTLA")
    labeler.fit_stretches([StretchDetections("a", *frames, times, looks)])
    again = make("TrackTLA")
    again.load_state_dict(labeler.state_dict())
    # What the teacher sees in the clip itself does not matter any more.
    teacher = seen([box(10)], [[0.5, 0.5, 0.5, 0.5]])
    for each in (labeler, again):
        found = [each.label_clip(teacher, sample(left, right, t)).gt_actions[0, 1].item() for t in (1.5, 1.9)]
        assert found == [0, 1]
    # In a mirrored clip the class has another column.
    mirrored = sample(people([box(10)], [[1.0, 0, 0, 0]]), people([box(10)], [[1.0, 0, 1, 0]]), 1.9)
    truth = labeler.label_clip(teacher, {**mirrored, "flip_ids": {2: 3, 3: 2}})
    assert truth.gt_actions[0].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("NearestKeyFrame", [1, 1, 0, 0]), ("InterpolatedUnion", [1, 1, 1, 0]),
     ("InterpolatedIntersection", [1, 0, 0, 0])],
)  # fmt: skip
def test_labels_without_a_teacher(name: str, expected: list[int]) -> None:
    left = people([box(0), box(120, 10)], [[1.0, 1, 0, 0], [0, 0, 0, 1.0]], [1, 2])
    right = people([box(40)], [[1.0, 0, 1, 0]], [1])
    truth = make(name).label_clip(None, sample(left, right, 1.25))
    assert truth.gt_actions[0].tolist() == expected
    assert truth.gt_boxes.tensor[0, 0] == pytest.approx(0 if name == "NearestKeyFrame" else 10)
    # Who is on one key frame only stays to the middle.
    assert len(truth) == 2
    assert len(make(name).label_clip(None, sample(left, right, 1.75))) == 1
