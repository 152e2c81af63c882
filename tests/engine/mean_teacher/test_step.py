"""Which network learns from what, and what is restored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.utils.events import EventStorage
from tiny import fake_input, tiny_cfg
from torch import nn

from mestad_d2.engine.mean_teacher.pseudo_quality import DenseJudge, DenseTruth
from mestad_d2.engine.mean_teacher.step import MeanTeacherStep
from mestad_d2.engine.mean_teacher.teacher import TeacherSelection, find_people
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.errors import UserError
from mestad_d2.semisup import ModelEMA, build_pseudo_labeler
from mestad_d2.video.transforms import ClipGeometry

PEOPLE = [[8.0, 8, 40, 56], [44.0, 10, 74, 60]]


def unlabeled_input(seed: int) -> dict:
    """An unlabelled clip with the same people at both key frames."""
    item = fake_input(PEOPLE, seed=seed)
    people = item.pop("instances")
    geometry = ClipGeometry((128, 160), (64, 80), (0, 0, 80, 64))
    return {**item, "clip_weak": item["clip"], "left_instances": people, "right_instances": people,
            "geometry": geometry}  # fmt: skip


def make_step(
    name: str = "TLA", burn_in: int = 0, learning_rate: float = 0.01, **arguments: object
) -> MeanTeacherStep:
    """A step on noise whose teacher finds boxes everywhere."""
    torch.manual_seed(0)
    cfg = tiny_cfg(
        "SEMISUP.PSEUDO_LABELER", name, "MODEL.FCOS.PRIOR_PROB", 0.5, "MODEL.ROI_ACTION_HEAD.DROPOUT", 0.0
    )
    model = MESTADTrainer.build_model(cfg)
    labeler = build_pseudo_labeler(cfg)
    labeled = [[fake_input(PEOPLE, seed=i)] for i in range(4)]
    unlabeled = [[unlabeled_input(seed=10 + i)] for i in range(4)] if labeler.uses_unlabeled else None
    step = MeanTeacherStep(
        model, labeled, torch.optim.SGD(model.parameters(), lr=learning_rate), unlabeled_loader=unlabeled,
        ema=ModelEMA(model, 0.9, ramp=False), labeler=labeler, burn_in_iters=burn_in,
        selection=TeacherSelection(0.05, 0.5, 5), **arguments,
    )  # fmt: skip
    step.iter = 0
    return step


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all tensors."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_unsupervised_loss_moves_only_the_student() -> None:
    step = make_step()
    step.start()
    teacher = weights(step.ema.model)
    inputs, ratios = step.pseudo_label(next(iter(step.unlabeled_loader)))
    pseudo = inputs[0]["instances"]
    assert ratios["pseudo/boxes_per_clip"][0] == len(pseudo) == 5
    # Two people twice: four labels for five boxes.
    assert int(pseudo.gt_action_mask.sum()) == 4
    assert not any(value.requires_grad for value in pseudo.get_fields().values() if torch.is_tensor(value))
    losses = step.unsupervised_losses(inputs)
    assert all(name.endswith("_unsup") for name in losses)
    sum(losses.values()).backward()
    assert all(p.grad is None for p in step.ema.model.parameters())
    moved = [
        name for name, p in step.student.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0
    ]
    for part in ("backbone.", "fpn.", "proposal_generator.", "roi_heads."):
        assert any(name.startswith(part) for name in moved), part
    step.optimizer.step()
    torch.testing.assert_close(weights(step.ema.model), teacher, rtol=0, atol=0)
    assert not step.ema.model.training


def test_loss_weight_and_names() -> None:
    one, half = make_step(loss_weight=1.0), make_step(loss_weight=0.5)
    for step in (one, half):
        step.start()
        with EventStorage() as storage:
            step.run_step()
            step.values = {k: v[0] for k, v in storage.latest().items()}
    unsup = [name for name in one.values if name.endswith("_unsup")]
    assert len(unsup) == 4 and all(n.replace("_unsup", "_sup") in one.values for n in unsup)
    for name in unsup:
        assert half.values[name] == pytest.approx(0.5 * one.values[name])
        sup = name.replace("_unsup", "_sup")
        assert half.values[sup] == pytest.approx(one.values[sup])
    losses = [value for name, value in one.values.items() if name.startswith("loss_")]
    assert one.values["total_loss"] == pytest.approx(sum(losses))
    assert one.values["pseudo/background_share"] == pytest.approx(0.2)
    assert one.values["pseudo/mean_cost"] > 0


def test_localisation_may_be_left_out_of_the_unsupervised_loss() -> None:
    whole, actions = make_step(), make_step(loc_loss_weight=0.0)
    for step in (whole, actions):
        step.start()
        inputs, _ = step.pseudo_label(next(iter(step.unlabeled_loader)))
        step.values = {name: float(loss.detach()) for name, loss in step.unsupervised_losses(inputs).items()}
    assert actions.values.pop("loss_action_unsup") == pytest.approx(whole.values["loss_action_unsup"])
    assert len(actions.values) == 3 and not any(actions.values.values())
    assert whole.values["loss_fcos_cls_unsup"] > 0


def test_swap_copies_and_the_average_follows() -> None:
    step = make_step(burn_in=2)
    with EventStorage() as storage:
        for step.iter in range(2):
            step.run_step()
        assert not step.started and "loss_action_sup" in storage.latest()
        assert "loss_action_unsup" not in storage.latest()
        student = weights(step.student)
        step.iter = 2
        step.run_step()
    assert step.started and step.ema.updates == 1
    after, teacher = weights(step.student), weights(step.ema.model)
    for name, start in student.items():
        if start.is_floating_point():
            torch.testing.assert_close(teacher[name], 0.9 * start + 0.1 * after[name], rtol=1e-4, atol=1e-6)
        else:
            assert torch.equal(teacher[name], after[name])


def test_ema_strategy_uses_labelled_clips_only() -> None:
    step = make_step("EMA")
    with EventStorage() as storage:
        step.run_step()
        assert not any("unsup" in name or "pseudo" in name for name in storage.latest())
    assert step.ema.updates == 1


def test_selection_of_the_teacher_is_given_back() -> None:
    step = make_step()
    generator = step.ema.model.proposal_generator
    before = generator.test_selection
    few = find_people(step.ema.model, [unlabeled_input(0)], TeacherSelection(0.05, 0.5, 3))[0]
    assert len(few) == 3 and generator.test_selection is before
    assert step.ema.model.roi_heads.score_with_person
    assert few.pred_boxes.tensor[:, 2].max() <= 80 and few.pred_boxes.tensor[:, 3].max() <= 64


def test_state_round_trip() -> None:
    first, second = make_step(), make_step(learning_rate=0.0)
    assert "teacher" not in first.state_dict()
    with EventStorage():
        first.run_step()
    second.load_state_dict(first.state_dict())
    assert second.started and second.ema.updates == 1
    torch.testing.assert_close(weights(second.ema.model), weights(first.ema.model), rtol=0, atol=0)


def test_judge_reads_the_dense_truth_through_the_geometry(tmp_path: Path) -> None:
    path = tmp_path / "dense.csv"
    rows = [
        f"v,1.0,{x1 / 80},{y1 / 64},{x2 / 80},{y2 / 64},{i + 1},{i}\n"
        for i, (x1, y1, x2, y2) in enumerate(PEOPLE)
    ]
    path.write_text("".join(rows) + "v,3.0,0.1,0.1,0.2,0.2,1,0\n")
    judge = DenseJudge([(path, [(1, 2)])])
    item = unlabeled_input(0)
    mirrored = {**item, "geometry": ClipGeometry((128, 160), (64, 80), (0, 0, 80, 64), flip=True)}
    truth = judge.truths[0].instances(item, 12)
    np.testing.assert_allclose(truth.gt_boxes.tensor.numpy(), PEOPLE, atol=1e-3)
    assert truth.gt_actions[:, :2].tolist() == [[1, 0], [0, 1]]
    flipped = judge.truths[0].instances(mirrored, 12)
    assert flipped.gt_actions[:, :2].tolist() == [[0, 1], [1, 0]]
    assert flipped.gt_boxes.tensor[0].tolist() == pytest.approx([40, 8, 72, 56], abs=1e-3)
    assert len(judge.truths[0].people("v", 2.0)) == 0

    step = make_step()
    found = find_people(step.ema.model, [item], TeacherSelection(0.0, 0.9, 3))[0][:3]
    found.pred_boxes.tensor = torch.tensor([*PEOPLE, [0.0, 0, 4, 4]])
    found.pred_actions = torch.zeros(3, 12)
    found.pred_actions[0, 0] = found.pred_actions[1, 5] = 0.9
    pseudo = build_pseudo_labeler(tiny_cfg()).label(found, item["left_instances"], None)
    ratios = judge([item], [found], [pseudo])
    assert ratios["pseudo/on_people"] == (2, 3)
    assert ratios["pseudo/exact"] == (2, 2) and ratios["pseudo/exact_thresholded"] == (1, 2)
    assert ratios["pseudo/precision"] == ratios["pseudo/recall"] == (2.0, 2.0)
    assert judge([{**item, "timestamp": 2.0}], [found], [pseudo])["pseudo/on_people"] == (0, 0)
    assert judge([{**item, "video_id": "other"}], [found], [pseudo])["pseudo/exact"] == (0, 0)


def test_dense_truth_of_more_classes_than_the_model_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "dense.csv"
    path.write_text("v,1.0,0.1,0.1,0.5,0.9,13,0\n")
    item = {"video_id": "v", "timestamp": 1.0, "geometry": ClipGeometry((128, 160), (64, 80), (0, 0, 80, 64))}
    with pytest.raises(UserError, match=r"dense.csv: action 13 of v at 1 s.*NUM_CLASSES = 12"):
        DenseTruth(path).instances(item, columns=12)
