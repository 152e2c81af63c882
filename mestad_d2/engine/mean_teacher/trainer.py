"""The trainer of both phases: burn-in, then teacher and student (paper, section 3.4)."""

from __future__ import annotations

import logging
from collections import OrderedDict
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import MetadataCatalog
from detectron2.engine.hooks import EvalHook
from detectron2.engine.train_loop import HookBase
from detectron2.utils import comm
from torch import nn

from mestad_d2.checkpoint.write import save_whole
from mestad_d2.data.loaders import build_unlabeled_loader
from mestad_d2.data.sampling import start_at
from mestad_d2.engine.mean_teacher.pseudo_quality import DenseJudge
from mestad_d2.engine.mean_teacher.step import MeanTeacherStep
from mestad_d2.engine.mean_teacher.stretch_detections import detect_stretches
from mestad_d2.engine.mean_teacher.teacher import TeacherSelection, find_people, teacher_dtype
from mestad_d2.engine.stop_signal import StoppableLoader
from mestad_d2.engine.trainer import MESTADTrainer, step_arguments
from mestad_d2.errors import UserError
from mestad_d2.semisup.ema import ModelEMA
from mestad_d2.semisup.labelers import PseudoLabeler, build_pseudo_labeler

logger = logging.getLogger(__name__)


def teacher_selection(cfg: CfgNode) -> TeacherSelection:
    """Return the selection settings ``SEMISUP.TEACHER_*``."""
    semisup = cfg.SEMISUP
    return TeacherSelection(
        semisup.TEACHER_SCORE_THRESH, semisup.TEACHER_NMS_THRESH, semisup.TEACHER_MAX_BOXES
    )


def dense_judge(cfg: CfgNode) -> DenseJudge | None:
    """Build a judge where the training datasets have dense truth, else return None."""
    metas = [MetadataCatalog.get(name) for name in cfg.DATASETS.TRAIN]
    dense = [(meta.dense, meta.get("flip_pairs", [])) for meta in metas if meta.get("dense")]
    dense = [(path, pairs) for path, pairs in dense if Path(path).is_file()]
    return DenseJudge(dense) if dense else None


def fit_to_training_set(cfg: CfgNode, teacher: nn.Module, labeler: PseudoLabeler) -> None:
    """Call ``PseudoLabeler.fit`` and ``fit_stretches`` before the first pseudo labels."""
    if labeler.looks is not None:
        labeler.fit_stretches(detect_stretches(cfg, teacher, teacher_selection(cfg), labeler.looks))
    if not labeler.needs_fit:
        return
    cfg = cfg.clone()
    cfg.defrost()
    # The teacher detects people itself, so files of boxes are not used.
    cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "proposals"
    columns = cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES
    scores, counts = [torch.zeros(0, columns)], torch.zeros(columns)
    for name in cfg.DATASETS.TRAIN:
        if MetadataCatalog.get(name).get("persons_only"):
            continue
        for batch in StoppableLoader(MESTADTrainer.build_test_loader(cfg, name), before_step=True):
            for item, found in zip(batch, find_people(teacher, batch, teacher_selection(cfg)), strict=True):
                scores.append(found.pred_actions.cpu())
                counts += item["instances"].gt_actions.sum(dim=0)
    gathered = comm.all_gather((torch.cat(scores), counts))
    labeler.fit(torch.cat([part[0] for part in gathered]), sum(part[1] for part in gathered).long())


class _WriteTeacher(HookBase):
    def after_train(self) -> None:
        if self.trainer.iter + 1 >= self.trainer.max_iter:
            self.trainer.write_teacher()


class TLATrainer(MESTADTrainer):
    """Mean-teacher training on the frames between key frames; resumable in both phases.

    The teacher is saved in every checkpoint and, at the end, as ``model_final_teacher.pth``; both networks
    are evaluated, the student's figures below ``student/``.
    """

    @classmethod
    def build_step(cls, cfg: CfgNode, model: nn.Module, optimizer: torch.optim.Optimizer) -> MeanTeacherStep:
        """Build the inner loop of both phases.

        Raises:
            UserError: the model has no person head, or is trained on boxes that unlabelled clips lack.
        """
        if cfg.MODEL.PROPOSAL_GENERATOR.NAME == "PrecomputedProposals":
            raise UserError(
                "SEMISUP.ENABLED: the teacher must find people; set MODEL.PROPOSAL_GENERATOR.NAME"
            )
        if cfg.MODEL.ROI_ACTION_HEAD.TRAIN_BOXES == "external":
            raise UserError(
                "SEMISUP.ENABLED: unlabelled clips have no external boxes; "
                "set MODEL.ROI_ACTION_HEAD.TRAIN_BOXES to proposals"
            )
        bare = model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model
        labeler = build_pseudo_labeler(cfg)
        return MeanTeacherStep(
            model,
            cls.build_train_loader(cfg),
            optimizer,
            unlabeled_loader=build_unlabeled_loader(cfg) if labeler.uses_unlabeled else None,
            ema=ModelEMA(bare, cfg.SEMISUP.EMA_DECAY, cfg.SEMISUP.EMA_RAMP),
            labeler=labeler,
            burn_in_iters=cfg.SEMISUP.BURN_IN_ITERS,
            loc_loss_weight=cfg.SEMISUP.LOC_LOSS_WEIGHT,
            loss_weight=cfg.SEMISUP.LOSS_WEIGHT,
            selection=teacher_selection(cfg),
            teacher_dtype=teacher_dtype(cfg),
            fit_labeler=lambda teacher: fit_to_training_set(cfg, teacher, labeler),
            judge=dense_judge(cfg),
            **step_arguments(cfg),
        )

    @property
    def teacher(self) -> nn.Module | None:
        """The teacher; None during burn-in."""
        return self._trainer.ema.model if self._trainer.started else None

    def build_hooks(self) -> list:
        """Build the usual hooks; both networks are evaluated and the teacher is written at the end."""
        hooks = [
            EvalHook(self.cfg.TEST.EVAL_PERIOD, self.evaluate) if isinstance(hook, EvalHook) else hook
            for hook in super().build_hooks()
        ]
        return [*hooks, _WriteTeacher()] if comm.is_main_process() else hooks

    def evaluate(self) -> OrderedDict:
        """Evaluate the teacher under the plain metric names and the student below ``student/``.

        During burn-in there is one network, evaluated under the plain names. The student's tables and csv
        files go to ``OUTPUT_DIR/student``.
        """
        if self.teacher is None:
            self._last_eval_results = self.test(self.cfg, self.model)
            return self._last_eval_results
        apart = self.cfg.clone()
        apart.defrost()
        apart.OUTPUT_DIR = str(Path(self.cfg.OUTPUT_DIR) / "student")
        student = self.test(apart, self.model)
        results = OrderedDict(self.test(self.cfg, self.teacher))
        results.update((f"student/{name}", figures) for name, figures in student.items())
        self._last_eval_results = results
        return results

    def write_teacher(self) -> None:
        """Write the teacher's weights alone, for evaluation, export and the demo."""
        if self.teacher is not None:
            path = Path(self.cfg.OUTPUT_DIR) / "model_final_teacher.pth"
            save_whole({"model": self.teacher.state_dict()}, path)
            logger.info("the teacher is in %s", path)

    def demo_model(self) -> nn.Module:
        """Return the teacher; during burn-in the only network."""
        return self.bare_model if self.teacher is None else self.teacher

    def demo_weights(self) -> Path:
        """Return the checkpoint of ``demo_model`` after training."""
        if self.teacher is None:
            return super().demo_weights()
        return Path(self.cfg.OUTPUT_DIR) / "model_final_teacher.pth"

    def resume_or_load(self, resume: bool = True, accept_changes: bool = False) -> None:
        """Resume as the supervised trainer does, and continue the unlabelled clips where they stopped."""
        super().resume_or_load(resume=resume, accept_changes=accept_changes)
        loader = self._trainer.unlabeled_loader
        if loader is not None and self.start_iter:
            start_at(loader, max(self.start_iter - self.cfg.SEMISUP.BURN_IN_ITERS, 0))
