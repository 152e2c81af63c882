"""detectron2's trainer with our loaders, optimiser, checkpointer and evaluator."""

from __future__ import annotations

import logging
import math
import sys
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.engine import DefaultTrainer, create_ddp_model
from detectron2.engine.hooks import EvalHook
from detectron2.engine.train_loop import HookBase, TrainerBase
from detectron2.evaluation import DatasetEvaluator, DatasetEvaluators, inference_on_dataset
from detectron2.evaluation.testing import flatten_results_dict
from detectron2.utils import comm
from torch import nn

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.data.catalog import check_dataset_names
from mestad_d2.data.loaders import build_test_loader, build_train_loader
from mestad_d2.data.sampling import start_at
from mestad_d2.engine import resume_check, run_folder
from mestad_d2.engine.brief_log import tell_user_errors_briefly
from mestad_d2.engine.feature_bank import FillFeatureBank, bank_heads, bank_of
from mestad_d2.engine.optim import build_optimizer, scale_to_processes
from mestad_d2.engine.stop_signal import StopOnSignal, StoppableLoader
from mestad_d2.engine.train_step import NonFiniteLossError, SupervisedStep
from mestad_d2.errors import UserError
from mestad_d2.evaluation import evaluator as _ava_evaluator  # noqa: F401 - registers itself
from mestad_d2.evaluation.registry import EVALUATOR_REGISTRY
from mestad_d2.inference.tubes import evaluator as _tube_evaluator  # noqa: F401 - registers itself
from mestad_d2.modeling.build import build_detector
from mestad_d2.modeling.frozen_parts import freeze_parts

logger = logging.getLogger(__name__)


class SaveBeforeEvaluation(HookBase):
    """Save before an evaluation if no checkpoint is due; only the newest of these files is kept."""

    def __init__(self, cfg: CfgNode) -> None:
        self._evaluate, self._save = cfg.TEST.EVAL_PERIOD, cfg.SOLVER.CHECKPOINT_PERIOD
        self._last: Path | None = None

    def after_step(self) -> None:
        """Save, and remove the file of the previous evaluation."""
        done = self.trainer.iter + 1
        if done % self._evaluate or done % self._save == 0 or done >= self.trainer.max_iter:
            return
        name = f"model_{self.trainer.iter:07d}"
        self.trainer.checkpointer.save(name, iteration=self.trainer.iter)
        if self._last is not None:
            self._last.unlink(missing_ok=True)
        self._last = Path(self.trainer.checkpointer.save_dir) / f"{name}.pth"


class MESTADTrainer(DefaultTrainer):
    """Supervised training (paper, Eq. 3) with periodic evaluation, resumable at any iteration."""

    def __init__(self, cfg: CfgNode) -> None:
        # DefaultTrainer's __init__ is skipped: its checkpointer and step would be built and replaced.
        TrainerBase.__init__(self)
        tell_user_errors_briefly()
        check_dataset_names(cfg)
        cfg = scale_to_processes(cfg, comm.get_world_size())
        self.cfg = cfg
        Path(cfg.OUTPUT_DIR).mkdir(parents=True, exist_ok=True)
        # A mistake in the evaluation's files is found here in seconds instead of at the end of training.
        self.open_test_sets(cfg)
        self.start_iter, self.max_iter = 0, cfg.SOLVER.MAX_ITER
        model = self.build_model(cfg)
        optimizer = self.build_optimizer(cfg, model)
        model = create_ddp_model(model, broadcast_buffers=False, **device_ids(cfg))
        self._trainer = self.build_step(cfg, model, optimizer)
        self.scheduler = self.build_lr_scheduler(cfg, optimizer)
        self.checkpointer = MESTADCheckpointer(
            self.bare_model, cfg.OUTPUT_DIR, cfg=cfg, trainer=weakref.proxy(self)
        )
        hooks = [*self._saving_first(self.build_hooks()), StopOnSignal()]
        if bank_heads(self.bare_model):
            hooks.insert(0, FillFeatureBank(cfg))
        self.register_hooks(hooks)

    def _saving_first(self, hooks: list) -> list:
        """The hooks with a checkpoint before each evaluation, so that a failing evaluation loses nothing."""
        if not comm.is_main_process() or not self.cfg.TEST.EVAL_PERIOD:
            return hooks
        place = next((i for i, hook in enumerate(hooks) if isinstance(hook, EvalHook)), len(hooks))
        return [*hooks[:place], SaveBeforeEvaluation(self.cfg), *hooks[place:]]

    @property
    def model(self) -> nn.Module:
        """The model, wrapped for distributed training where there are several processes."""
        return self._trainer.model

    @property
    def bare_model(self) -> nn.Module:
        """The model without the wrapper of distributed training."""
        model = self._trainer.model
        return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """The optimiser of the (student) model."""
        return self._trainer.optimizer

    @property
    def data_loader(self) -> Any:
        """The loader of labelled clips."""
        return self._trainer.data_loader

    @classmethod
    def build_model(cls, cfg: CfgNode) -> nn.Module:
        """Build the model, freeze ``SOLVER.FREEZE`` in it, and write its structure into the log.

        Raises:
            UserError: see ``build_detector`` and ``freeze_parts``.
        """
        model = build_detector(cfg)
        freeze_parts(model, cfg.SOLVER.FREEZE)
        logger.info("Model:\n%s", model)
        return model

    @classmethod
    def build_step(cls, cfg: CfgNode, model: nn.Module, optimizer: torch.optim.Optimizer) -> SupervisedStep:
        """Build the inner loop of this trainer."""
        return SupervisedStep(model, cls.build_train_loader(cfg), optimizer, **step_arguments(cfg))

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: nn.Module) -> torch.optim.Optimizer:
        """Build the optimiser; see ``engine.optim``."""
        return build_optimizer(cfg, model)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode) -> Any:
        """Build the loader of endless batches of labelled clips."""
        return build_train_loader(cfg)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> Any:
        """Build the loader of all key frames of a dataset, each once."""
        return build_test_loader(cfg, dataset_name)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """Build the evaluators of ``TEST.EVALUATORS``; tables and csv files go to ``OUTPUT_DIR/inference/<dataset>``.

        Raises:
            UserError: a name is not registered, or a file that an evaluator reads can't be used.
        """
        folder = Path(cfg.OUTPUT_DIR) / "inference" / dataset_name
        names = list(cfg.TEST.EVALUATORS)
        unknown = [name for name in names if name not in EVALUATOR_REGISTRY]
        if unknown or not names:
            known = ", ".join(name for name, _ in EVALUATOR_REGISTRY)
            raise UserError(f"TEST.EVALUATORS: {unknown or 'empty'}; give some of {known}")
        made = [EVALUATOR_REGISTRY.get(name)(dataset_name, cfg, output_dir=str(folder)) for name in names]
        return made[0] if len(made) == 1 else DatasetEvaluators(made)

    @classmethod
    def open_test_sets(cls, cfg: CfgNode) -> dict[str, tuple[Any, DatasetEvaluator]]:
        """Build loader and evaluator of every dataset of ``DATASETS.TEST``; this reads all their files.

        Raises:
            UserError: a file that the evaluation reads is missing or malformed.
        """
        return {
            name: (cls.build_test_loader(cfg, name), cls.build_evaluator(cfg, name))
            for name in cfg.DATASETS.TEST
        }

    @classmethod
    def test(cls, cfg: CfgNode, model: nn.Module, evaluators: Any = None) -> OrderedDict:
        """Evaluate on ``DATASETS.TEST``; one dict of metrics, or one a dataset where there are several."""
        results: OrderedDict = OrderedDict()
        for name, (loader, evaluator) in cls.open_test_sets(cfg).items():
            loader = StoppableLoader(loader)
            with bank_of(model, loader):
                results[name] = inference_on_dataset(model, loader, DatasetEvaluators([evaluator]))
        return next(iter(results.values())) if len(results) == 1 else results

    def train(self) -> dict | None:
        """Train to the end; returns what the last evaluation found, which ``TEST.EXPECTED_RESULTS`` checks."""
        try:
            TrainerBase.train(self, self.start_iter, self.max_iter)
        finally:
            run_folder.release(self.cfg.OUTPUT_DIR)
        verify_results(self.cfg, self.final_results() or {})
        return self.final_results()

    def run_step(self) -> None:
        """Run one iteration of the inner loop."""
        self._trainer.iter = self.iter
        self._trainer.storage = self.storage
        try:
            self._trainer.run_step()
        except NonFiniteLossError as error:
            good = self.checkpointer.last_good()
            raise NonFiniteLossError(
                f"{error}; "
                + (f"the last good checkpoint is {good}" if good else "there is no checkpoint yet")
            ) from None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of iteration, hooks (the schedule), optimiser and scaler, with either detectron2."""
        state = TrainerBase.state_dict(self)
        return {**state, "step": self._trainer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``; keys may be missing. Learning rates are those of the config."""
        base_lrs = list(self.scheduler.base_lrs)
        TrainerBase.load_state_dict(self, state)
        self._trainer.load_state_dict(state.get("step", {}))
        self.scheduler.base_lrs = base_lrs
        for group, rate in zip(self.optimizer.param_groups, self.scheduler.get_lr(), strict=True):
            group["lr"] = rate

    def final_results(self) -> dict | None:
        """Return the results of the evaluation after training."""
        return getattr(self, "_last_eval_results", None)

    def demo_model(self) -> nn.Module:
        """Return the model to use for inference: here the trained one itself."""
        return self.bare_model

    def demo_weights(self) -> Path:
        """Return the checkpoint of ``demo_model`` after training."""
        return Path(self.cfg.OUTPUT_DIR) / "model_final.pth"

    def resume_or_load(self, resume: bool = True, accept_changes: bool = False) -> None:
        """Lock the folder, then continue from its last good checkpoint, else load ``MODEL.WEIGHTS``.

        Args:
            resume: continue where the run in the folder stopped.
            accept_changes: of the model, optimiser, seed or training data since then; else they are refused.

        Raises:
            UserError: another run holds the folder, or the config changed; or as the checkpointer.
        """
        self.checkpointer.run = run_folder.begin(self.cfg.OUTPUT_DIR, resume)
        self.checkpointer.notes = resume_check.notes(self.cfg)
        going_on = resume and self.checkpointer.has_checkpoint()
        if going_on:
            before = self.checkpointer.newest_head()
            resume_check.check_changes(self.cfg, before, accept_changes, self.checkpointer.notes)
            self.checkpointer.accept_changes = self._trainer.accept_changes = accept_changes
        self.checkpointer.resume_or_load(self.cfg.MODEL.WEIGHTS, resume=going_on)
        if going_on:
            self.start_iter = self.iter + 1
            start_at(self.data_loader, self.start_iter)
            logger.info("resuming at iteration %d of %d", self.start_iter, self.max_iter)
            if self.start_iter >= self.max_iter:
                # A run that was killed between its last two files has no step left to write this one.
                self.checkpointer.save("model_final", iteration=self.start_iter - 1)


def device_ids(cfg: CfgNode) -> dict[str, Any]:
    """Return the ``device_ids`` argument of distributed training, which must be None on the CPU."""
    return {"device_ids": None} if cfg.MODEL.DEVICE == "cpu" else {}


def step_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Return the keyword arguments that every inner loop takes from the config."""
    return {
        "clip_total_norm": cfg.SOLVER.CLIP_TOTAL_NORM,
        "amp": cfg.SOLVER.AMP.ENABLED,
        "on_nonfinite": cfg.SOLVER.ON_NONFINITE,
        "seed": cfg.SEED,
        "dump_dir": Path(cfg.OUTPUT_DIR) if comm.is_main_process() else None,
    }


def verify_results(cfg: CfgNode, results: Mapping) -> None:
    """Compare an evaluation with ``TEST.EXPECTED_RESULTS``; as in detectron2, exit with code 1 if they differ.

    Args:
        results: as of ``MESTADTrainer.test``; with several test datasets a task is ``dataset/task``.
    """
    if not comm.is_main_process():
        return
    figures, wrong = flatten_results_dict(results), []
    for task, metric, expected, tolerance in cfg.TEST.EXPECTED_RESULTS:
        found = figures.get(f"{task}/{metric}", math.nan)
        if not abs(found - expected) <= tolerance:
            wrong.append(f"{task}/{metric} is {found:g}, expected {expected:g} +- {tolerance:g}")
    if wrong:
        logger.error("TEST.EXPECTED_RESULTS: %s", "; ".join(wrong))
        sys.exit(1)
