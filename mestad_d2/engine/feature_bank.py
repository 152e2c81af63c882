"""Fill the bank of ``FeatureBankROIHeads`` by passes over whole films, in training and before an evaluation."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.engine.train_loop import HookBase
from detectron2.utils import comm
from torch import nn

from mestad_d2.data.loaders import build_test_loader
from mestad_d2.errors import UserError
from mestad_d2.formats.files import atomic_path
from mestad_d2.modeling.roi_heads.feature_bank import FeatureBank, FeatureBankROIHeads

logger = logging.getLogger(__name__)


def bank_heads(model: nn.Module) -> FeatureBankROIHeads | None:
    """Return the heads of a model that look into a bank; None where it has others."""
    model = getattr(model, "module", model)
    heads = getattr(model, "roi_heads", None)
    return heads if isinstance(heads, FeatureBankROIHeads) else None


@torch.no_grad()
def filled_bank(model: nn.Module, loader: Iterable[list[dict]]) -> FeatureBank:
    """Run the model over clips once, in evaluation mode, and return the features of all actors it found.

    The processes' parts are joined, and the model's mode is left as it was.
    """
    heads, training = bank_heads(model), model.training
    model.eval()
    try:
        with heads.filling() as bank:
            for batch in loader:
                model(batch)
    finally:
        model.train(training)
    parts = comm.all_gather(bank.to_arrays())
    for part in parts[: comm.get_rank()] + parts[comm.get_rank() + 1 :]:
        bank.merge(FeatureBank.from_arrays(part))
    return bank


@contextmanager
def bank_of(model: nn.Module, loader: Iterable[list[dict]]) -> Iterator[None]:
    """Evaluate in the block with a bank of the loader's films, where the model looks into one."""
    heads = bank_heads(model)
    if heads is None:
        yield
        return
    with heads.looking_into(filled_bank(model, loader)):
        yield


class FillFeatureBank(HookBase):
    """Fill the bank with the training set's films, ``MODEL.FEATURE_BANK.FILLS`` times from ``START`` on.

    Each bank is written to ``OUTPUT_DIR/feature_bank``; a resumed run reads the one that its checkpoint used.
    """

    def __init__(self, cfg: CfgNode, loader_builder: Any = build_test_loader) -> None:
        own, last = cfg.MODEL.FEATURE_BANK, cfg.SOLVER.MAX_ITER
        first = round(own.START * last)
        self.iterations = sorted({first + (last - first) * i // own.FILLS for i in range(own.FILLS)})
        self.folder = Path(cfg.OUTPUT_DIR) / "feature_bank"
        # Training films, read as in testing: no augmentation, each key frame once, the boxes of training.
        self.cfg = cfg.clone()
        self.cfg.defrost()
        self.cfg.DATASETS.TEST = cfg.DATASETS.TRAIN
        self.cfg.DATASETS.PERSON_BOXES_TEST = cfg.DATASETS.PERSON_BOXES_TRAIN
        self.build, self.filled_at = loader_builder, -1

    def before_step(self) -> None:
        """Fill the bank where it is due."""
        if self.trainer.iter not in self.iterations:
            return
        model, bank = self.trainer.model, FeatureBank()
        for name in self.cfg.DATASETS.TEST:
            bank.merge(filled_bank(getattr(model, "module", model), self.build(self.cfg, name)))
        bank_heads(model).bank, self.filled_at = bank, self.trainer.iter
        logger.info("feature bank: %d key frames", len(bank))
        if comm.is_main_process():
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._file(), keep_suffix=True) as aside:
                np.savez(aside, **bank.to_arrays())

    def _file(self) -> Path:
        return self.folder / f"{self.filled_at:07d}.npz"

    def state_dict(self) -> dict[str, int]:
        """Return which bank is in use."""
        return {"filled_at": self.filled_at}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Read the bank that was in use.

        Raises:
            UserError: its file is gone.
        """
        self.filled_at = state["filled_at"]
        if self.filled_at < 0:
            return
        if not self._file().is_file():
            raise UserError(f"{self._file()}: the feature bank of this checkpoint is gone; train anew")
        with np.load(self._file(), allow_pickle=False) as arrays:
            bank_heads(self.trainer.model).bank = FeatureBank.from_arrays(dict(arrays))
