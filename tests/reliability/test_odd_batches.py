"""Batches that are hard to like, through a training step of either phase and through inference."""

from __future__ import annotations

import pytest
import torch
from detectron2.structures import Boxes, Instances
from detectron2.utils.events import EventStorage
from tiny import fake_input, tiny_cfg
from torch import nn

from mestad_d2.engine.mean_teacher.step import MeanTeacherStep
from mestad_d2.engine.mean_teacher.teacher import TeacherSelection
from mestad_d2.engine.train_step import SupervisedStep
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.semisup import ModelEMA, build_pseudo_labeler

CROWD = [[2.0 * i, i, 2 * i + 18, i + 30] for i in range(30)]
# People of each clip of a batch, in 64 x 80 pixels.
BATCHES = {
    "one clip without people": [[]],
    "no people at all": [[], []],
    "people in one of two": [[], [[10, 10, 40, 60]]],
    "30 people": [CROWD],
    "30 at one place": [[[10, 10, 40, 60]] * 30],
    "one pixel": [[[10, 10, 11, 11], [79, 63, 80, 64]]],
    "no area": [[[10, 10, 10, 40], [0, 0, 0, 0]]],
    "the whole frame": [[[0, 0, 80, 64]]],
}
# Options that make the trained boxes of a clip none, or 1,000 of a large one.
NO_PROPOSALS = ["MODEL.PROPOSALS.SCORE_THRESH_TRAIN", 1.0, "MODEL.ROI_ACTION_HEAD.APPEND_GT", False]
MANY_PROPOSALS = [
    "MODEL.PROPOSALS.SCORE_THRESH_TRAIN", 0.0, "MODEL.PROPOSALS.PRE_NMS_TOPK", 5000,
    "MODEL.PROPOSALS.POST_NMS_TOPK_TRAIN", 1000, "MODEL.PROPOSALS.SCORE_THRESH_TEST", 0.0,
    "MODEL.PROPOSALS.NMS_THRESH_TEST", 1.0, "MODEL.PROPOSALS.POST_NMS_TOPK_TEST", 1000,
]  # fmt: skip
# An untrained head gives about one box in four locations an area.
LARGE = (512, 512)


def odd_clip(boxes: list[list[float]], size: tuple[int, int] = (64, 80), seed: int = 0) -> dict:
    """A labelled clip; person i does action i modulo 12, plus 1."""
    item = fake_input(boxes[:12], size=size, seed=seed)
    people = item["instances"] = Instances(size)
    people.gt_boxes = Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
    people.gt_classes = torch.zeros(len(boxes), dtype=torch.long)
    people.gt_actions = torch.eye(12)[torch.arange(len(boxes)) % 12]
    return item


def between(left: list[list[float]], right: list[list[float]], size: tuple[int, int] = (64, 80)) -> dict:
    """An unlabelled clip between two key frames."""
    item = odd_clip([], size, seed=9)
    item.pop("instances")
    sides = {f"{name}_instances": odd_clip(boxes, size)["instances"]
             for name, boxes in (("left", left), ("right", right))}  # fmt: skip
    return {**item, **sides, "clip_weak": item["clip"]}


def survive(step: SupervisedStep, inputs: list[dict]) -> dict[str, float]:
    """Two steps and an inference; all finite, every parameter with a gradient. Returns the logged figures."""
    with EventStorage() as storage:
        for step.iter in range(2):
            step.run_step()
            for name, parameter in step.model.named_parameters():
                assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), name
        figures = {name: value for name, (value, _) in storage.latest().items()}
    assert all(torch.isfinite(torch.tensor(list(figures.values()))))
    assert all(bool(torch.isfinite(value).all()) for value in step.model.state_dict().values())
    step.model.eval()
    for found, item in zip(step.model(inputs), inputs, strict=True):
        persons = found["instances"]
        assert persons.image_size == (item["height"], item["width"])
        assert persons.pred_actions.shape == (len(persons), 12)
        for field in (persons.pred_boxes.tensor, persons.scores, persons.pred_actions):
            assert bool(torch.isfinite(field).all())
    step.model.train()
    return figures


def supervised(batch: list[dict], *opts: object) -> SupervisedStep:
    """A step on this batch, again and again."""
    torch.manual_seed(0)
    model = MESTADTrainer.build_model(tiny_cfg("MODEL.FCOS.PRIOR_PROB", 0.3, *opts))
    return SupervisedStep(
        model, [batch] * 2, torch.optim.SGD(model.parameters(), lr=0.01), clip_total_norm=40.0
    )


def mean_teacher(
    labeled: list[dict], unlabeled: list[dict], most: int, score: float, *opts: object
) -> MeanTeacherStep:
    """A step of the second phase, whose teacher finds ``most`` boxes above ``score``."""
    first = supervised(labeled, *opts)
    cfg = tiny_cfg()
    step = MeanTeacherStep(
        first.model, first.data_loader, first.optimizer, unlabeled_loader=[unlabeled] * 2,
        ema=ModelEMA(first.model, 0.9, ramp=False), labeler=build_pseudo_labeler(cfg), burn_in_iters=0,
        selection=TeacherSelection(score, 1.0, most), clip_total_norm=40.0,
    )  # fmt: skip
    return step


@pytest.mark.parametrize("name", BATCHES)
def test_labelled(name: str) -> None:
    batch = [odd_clip(boxes, seed=i) for i, boxes in enumerate(BATCHES[name])]
    survive(supervised(batch), batch)


@pytest.mark.parametrize("name", BATCHES)
@pytest.mark.parametrize("most", [0, 5])
def test_unlabelled(name: str, most: int) -> None:
    labeled = [odd_clip(boxes, seed=i) for i, boxes in enumerate(BATCHES[name])]
    # One neighbour may be missing, or show nobody; the teacher may find nobody.
    unlabeled = [between(boxes, side) for boxes in BATCHES[name] for side in ([], boxes)]
    step = mean_teacher(labeled, unlabeled, most, score=0.0 if most else 1.0)
    figures = survive(step, labeled)
    assert figures["pseudo/boxes_per_clip"] == most
    assert step.ema.updates == 2


@pytest.mark.parametrize("people", [[], CROWD])
def test_no_proposal(people: list) -> None:
    batch = [odd_clip(people)]
    figures = survive(supervised(batch, *NO_PROPOSALS), batch)
    assert figures["loss_action"] == 0


@pytest.mark.parametrize("people", [[], CROWD])
def test_a_thousand_proposals(people: list) -> None:
    batch = [odd_clip(people, LARGE)]
    step = supervised(batch, *MANY_PROPOSALS)
    survive(step, batch)
    step.model.eval()
    assert len(step.model(batch)[0]["instances"]) == 1000


def test_a_thousand_pseudo_labels() -> None:
    labeled, unlabeled = [odd_clip(CROWD, LARGE)], [between(CROWD, CROWD[::-1], LARGE)]
    step = mean_teacher(labeled, unlabeled, 1000, 0.0, *MANY_PROPOSALS)
    assert survive(step, labeled)["pseudo/boxes_per_clip"] == 1000


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_boxes_of_a_file(count: int) -> None:
    item = odd_clip(CROWD)
    corners = torch.rand(count, 2, generator=torch.Generator().manual_seed(1)) * 40
    item["proposals"] = Instances((64, 80), proposal_boxes=Boxes(torch.cat([corners, corners + 20], dim=1)),
                                  objectness_logits=torch.full((count,), 0.9))  # fmt: skip
    opts = ["MODEL.ROI_ACTION_HEAD.TRAIN_BOXES", "external", "MODEL.ROI_ACTION_HEAD.TEST_BOXES", "external",
            "MODEL.ROI_ACTION_HEAD.APPEND_GT", False]  # fmt: skip
    step = supervised([item], *opts)
    figures = survive(step, [item])
    assert (figures["loss_action"] > 0) == (count == 1000)
    step.model.eval()
    assert len(step.model([item])[0]["instances"]) == count


def test_a_batch_without_clips() -> None:
    model: nn.Module = MESTADTrainer.build_model(tiny_cfg())
    assert model.eval()([]) == []
    with pytest.raises(ValueError, match="no clips"):
        model.train()([])
