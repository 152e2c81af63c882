"""What the teacher sees and says: the plain view, action scores alone, thresholds of all training batches."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from detectron2.structures import Boxes, Instances
from engine.mean_teacher.test_step import make_step, unlabeled_input
from tiny import fake_input, tiny_cfg
from torch import nn

from mestad_d2.engine.mean_teacher.teacher import TeacherSelection, find_people, teacher_dtype
from mestad_d2.engine.mean_teacher.trainer import fit_to_training_set
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.errors import UserError
from mestad_d2.semisup import build_pseudo_labeler


def test_teacher_sees_the_plain_view_and_the_student_the_jittered_one() -> None:
    step = make_step()
    step.start()
    item = unlabeled_input(0)
    item["clip"] = 255 - item["clip_weak"]
    seen: dict[str, torch.Tensor] = {}

    def remember(name: str):
        return lambda backbone, arguments: seen.update({name: arguments[0].detach().clone()})

    step.ema.model.backbone.register_forward_pre_hook(remember("teacher"))
    step.student.backbone.register_forward_pre_hook(remember("student"))
    inputs, _ = step.pseudo_label([item])
    assert set(seen) == {"teacher"}
    step.unsupervised_losses(inputs)
    for name, view in (("teacher", "clip_weak"), ("student", "clip")):
        pixels = seen[name][0] * step.student.pixel_std + step.student.pixel_mean
        _, frames, height, width = item[view].shape
        torch.testing.assert_close(
            pixels[:, :frames, :height, :width], item[view].float(), rtol=1e-4, atol=1e-2
        )


def test_action_scores_are_compared_without_the_persons() -> None:
    teacher, item = make_step().ema.model, unlabeled_input(0)
    generator, heads = teacher.proposal_generator, teacher.roi_heads
    found = find_people(teacher, [item], TeacherSelection(0.05, 0.5, 3))[0]
    # The same by hand, once alone and once multiplied.
    generator.test_selection = replace(
        generator.test_selection, score_thresh=0.05, nms_thresh=0.5, max_boxes=3
    )
    by_hand = {}
    for heads.score_with_person in (False, True):
        by_hand[heads.score_with_person] = teacher.inference([item], do_postprocess=False)[0].pred_actions
    torch.testing.assert_close(found.pred_actions, by_hand[False])
    assert not torch.allclose(by_hand[False], by_hand[True], rtol=0.01)


def test_thresholds_are_fitted_to_the_scores_and_labels_of_all_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Three persons of class 1 and one of class 2 in two batches, scores known.
    batches = [[fake_input([[0, 0, 9, 9], [20, 0, 30, 9]])], [fake_input([[0, 0, 9, 9]])] * 2]
    scores = iter([[0.9, 0.8], [0.7], [0.3]])

    class Teacher(nn.Module):
        """Finds the annotated number of persons with given scores of all classes."""

    def known(teacher: nn.Module, clips: list[dict], *_: object) -> list[Instances]:
        found = []
        for item in clips:
            actions = torch.tensor(next(scores))[:, None].repeat(1, 12)
            boxes = Boxes(item["instances"].gt_boxes.tensor)
            found.append(Instances((64, 80), pred_boxes=boxes, pred_actions=actions))
        return found

    monkeypatch.setattr("mestad_d2.engine.mean_teacher.trainer.find_people", known)
    monkeypatch.setattr(MESTADTrainer, "build_test_loader", classmethod(lambda cls, cfg, name: batches))
    cfg = tiny_cfg("SEMISUP.PSEUDO_LABELER", "PerClassThreshold")
    labeler = build_pseudo_labeler(cfg)
    fit_to_training_set(cfg, Teacher(), labeler)
    # Class 1: above the third of 0.9 0.8 0.7 0.3; class 2: above the first; class 3 is never labelled.
    assert labeler.state_dict()["thresholds"][:3].tolist() == pytest.approx([0.5, 0.85, float("inf")])


@pytest.mark.parametrize(("name", "low"), [("bfloat16", True), ("float32", False), ("", False)])
def test_the_teacher_computes_in_the_precision_of_its_key(name: str, low: bool) -> None:
    cfg = tiny_cfg("SEMISUP.TEACHER_DTYPE", name)
    step = make_step(teacher_dtype=teacher_dtype(cfg))
    step.start()
    item, seen = unlabeled_input(0), {}
    first = next(m for m in step.ema.model.backbone.modules() if isinstance(m, nn.Conv3d))
    first.register_forward_hook(lambda _m, _i, out: seen.update(dtype=out.dtype))
    (inputs,), _ = step.pseudo_label([item])
    assert seen["dtype"] == (torch.bfloat16 if low else torch.float32)
    assert inputs["instances"].gt_boxes.tensor.dtype == torch.float32
    assert {p.dtype for p in step.ema.model.parameters()} == {torch.float32}


def test_an_unknown_precision_is_one_line() -> None:
    with pytest.raises(
        UserError, match="SEMISUP.TEACHER_DTYPE: unknown 'bf16'; use float32, bfloat16, float16"
    ):
        teacher_dtype(tiny_cfg("SEMISUP.TEACHER_DTYPE", "bf16"))
