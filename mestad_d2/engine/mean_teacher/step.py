"""The inner loop of mean-teacher training (paper, section 3.4 and Eq. 4)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from detectron2.structures import Instances
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import nn

from mestad_d2.engine.mean_teacher.teacher import TeacherSelection, find_people
from mestad_d2.engine.train_step import Losses, SupervisedStep, write_metrics
from mestad_d2.semisup.ema import ModelEMA
from mestad_d2.semisup.labelers import PseudoLabeler

logger = logging.getLogger(__name__)

# Metric -> (numerator, denominator), so that ranks with different numbers of boxes can be averaged.
Ratios = dict[str, tuple[float, float]]
Judge = Callable[[list[dict], Sequence[Instances | None], list[Instances]], Ratios]


def label_ratios(truths: list[Instances]) -> Ratios:
    """Compute pseudo boxes per clip, the share of background, and the mean cost of an assigned person."""
    boxes = sum(len(truth) for truth in truths)
    masks = [truth.gt_action_mask for truth in truths]
    labelled = sum(int(mask.sum()) for mask in masks)
    assigned = [truth.gt_source_index >= 0 for truth in truths]
    cost = sum(float(truth.gt_costs[given].sum()) for truth, given in zip(truths, assigned, strict=True))
    return {
        "pseudo/boxes_per_clip": (boxes, len(truths)),
        "pseudo/background_share": (boxes - labelled, boxes),
        "pseudo/mean_cost": (cost, sum(int(given.sum()) for given in assigned)),
    }


def write_ratios(ratios: Ratios) -> None:
    """Put ratios over all ranks into the event storage; those without denominator are left out."""
    gathered = comm.gather(ratios)
    if not comm.is_main_process():
        return
    for name in gathered[0]:
        above, below = (sum(part[name][i] for part in gathered) for i in (0, 1))
        if below:
            get_event_storage().put_scalar(name, above / below)


class MeanTeacherStep(SupervisedStep):
    """Burn-in on labelled clips, then a student that learns from labelled clips and the teacher's pseudo labels.

    The teacher takes over the student's weights at the first step from ``burn_in_iters`` on, so training that
    starts from burnt-in weights sets it to 0. The average is updated at the end of each later step.
    """

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[list[dict]],
        optimizer: torch.optim.Optimizer,
        *,
        unlabeled_loader: Iterable[list[dict]] | None,
        ema: ModelEMA,
        labeler: PseudoLabeler,
        burn_in_iters: int,
        loss_weight: float = 0.5,
        loc_loss_weight: float = 1.0,
        selection: TeacherSelection | None = None,
        teacher_dtype: torch.dtype | None = None,
        fit_labeler: Callable[[nn.Module], None] | None = None,
        judge: Judge | None = None,
        **arguments: Any,
    ) -> None:
        """See ``SupervisedStep``.

        Args:
            loc_loss_weight: of all losses but the action loss, within those on pseudo labels.
            unlabeled_loader: batches with ``clip_weak``, ``clip``, ``left_instances``, ``right_instances``;
                None where the strategy wants none.
            teacher_dtype: precision of the teacher's detection; None: as the student's.
            fit_labeler: called once with the teacher, at the end of burn-in.
            judge: compares pseudo labels with dense truth, where there is one, for the log.
        """
        super().__init__(model, data_loader, optimizer, **arguments)
        self.unlabeled_loader = unlabeled_loader
        self.ema, self.labeler = ema, labeler
        self.burn_in_iters, self.loss_weight = burn_in_iters, loss_weight
        self.loc_loss_weight = loc_loss_weight
        self.selection = selection or TeacherSelection()
        self.teacher_dtype = teacher_dtype
        self.fit_labeler, self.judge = fit_labeler, judge
        self.started = False
        self._unlabeled_iterator: Iterator[list[dict]] | None = None

    @property
    def student(self) -> nn.Module:
        """The model without the wrapper of distributed training."""
        model = self.model
        return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model

    def run_step(self) -> None:
        """Run one iteration of either phase; losses have the same names in both, so that curves continue."""
        if not self.started and self.iter >= self.burn_in_iters:
            self.start()
        batch, data_time = self.next_batch()
        losses = {f"{name}_sup": loss for name, loss in self.compute_losses(batch).items()}
        ratios: Ratios = {}
        if self.started and self.unlabeled_loader is not None:
            if self._unlabeled_iterator is None:
                self._unlabeled_iterator = iter(self.unlabeled_loader)
            unlabeled = next(self._unlabeled_iterator)
            pseudo, ratios = self.pseudo_label(unlabeled)
            losses.update(self.unsupervised_losses(pseudo))
            batch = batch + pseudo
        if self.update(losses, batch):
            if self.started:
                self.ema.update(self.student)
            write_metrics(losses, data_time)
            if ratios:
                write_ratios(ratios)

    def start(self) -> None:
        """End burn-in: the teacher starts as a copy of the student."""
        logger.info("burn-in ends: the teacher starts at iteration %d", self.iter)
        self.ema.copy_from(self.student)
        if self.fit_labeler is not None:
            self.fit_labeler(self.ema.model)
        self.started = True

    def pseudo_label(self, unlabeled: list[dict]) -> tuple[list[dict], Ratios]:
        """Return the student's inputs with pseudo ``instances``, and figures for the log."""
        found: list[Instances | None] = [None] * len(unlabeled)
        if self.labeler.needs_teacher:
            given = [self.labeler.teacher_boxes(item) for item in unlabeled]
            boxes = None if None in given else given
            dtype = self.teacher_dtype or (torch.float16 if self.amp else None)
            found = find_people(self.ema.model, unlabeled, self.selection, dtype, boxes)
        truths = [
            self.labeler.label_clip(persons, item) for persons, item in zip(found, unlabeled, strict=True)
        ]
        ratios = label_ratios(truths)
        if self.judge is not None:
            ratios |= self.judge(unlabeled, found, truths)
        inputs = [{**item, "instances": truth} for item, truth in zip(unlabeled, truths, strict=True)]
        return inputs, ratios

    def unsupervised_losses(self, pseudo: list[dict]) -> Losses:
        """Compute the student's weighted losses on pseudo labels (Eq. 5)."""
        losses = self.compute_losses(pseudo)
        weights = {name: 1.0 if name == "loss_action" else self.loc_loss_weight for name in losses}
        return {f"{name}_unsup": self.loss_weight * weights[name] * loss for name, loss in losses.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state; after burn-in it includes the teacher."""
        state = super().state_dict()
        if self.started:
            state["teacher"] = self.ema.state_dict()
            state["labeler"] = self.labeler.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``; without a teacher in it, the next step past burn-in starts one."""
        super().load_state_dict(state)
        self.started = "teacher" in state
        if self.started:
            self.ema.load_state_dict(state["teacher"])
            self.labeler.load_state_dict(state.get("labeler", {}))
