"""The inner loop: one optimisation step on a batch of labelled clips."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.engine.train_loop import TrainerBase
from detectron2.utils import comm
from detectron2.utils.events import get_event_storage
from torch import Tensor, nn

Losses = dict[str, Tensor]


class NonFiniteLossError(FloatingPointError):
    """A loss is NaN or infinite; the message names the iteration, the losses and the clips."""


def describe(batch: list[dict]) -> str:
    """List the videos and timestamps of a batch, for messages."""
    return ", ".join(f"{item.get('video_id', '?')} at {item.get('timestamp', '?')}" for item in batch)


def check_finite(losses: Losses, iteration: int, batch: list[dict], dump_dir: Path | None) -> None:
    """Raise when a loss is not finite, after writing the batch beside the run.

    Raises:
        NonFiniteLossError: with the iteration, the names of the losses and the clips.
    """
    if all(bool(torch.isfinite(loss).all()) for loss in losses.values()):
        return
    bad = ", ".join(
        f"{name}={float(loss.detach()):g}" for name, loss in losses.items() if not torch.isfinite(loss).all()
    )
    message = f"iteration {iteration}: {bad} on {describe(batch)}"
    if dump_dir is not None:
        dump_dir.mkdir(parents=True, exist_ok=True)
        path = dump_dir / f"nonfinite_{iteration:07d}.pth"
        torch.save({"iteration": iteration, "clips": [item["clip"] for item in batch]}, path)
        message += f"; the clips are in {path}"
    raise NonFiniteLossError(message)


def write_metrics(losses: Losses, data_time: float, metrics: dict[str, float] | None = None) -> None:
    """Put the mean over ranks of all losses, their sum and other figures into the event storage."""
    local = {name: float(loss.detach()) for name, loss in losses.items()}
    gathered = comm.gather({**local, **(metrics or {}), "data_time": data_time})
    if not comm.is_main_process():
        return
    storage = get_event_storage()
    storage.put_scalar("data_time", max(values["data_time"] for values in gathered))
    mean = {name: float(np.mean([values[name] for values in gathered])) for name in gathered[0]}
    mean.pop("data_time")
    storage.put_scalar("total_loss", sum(mean[name] for name in losses))
    storage.put_scalars(**mean)


class SupervisedStep(TrainerBase):
    """Forward, backward, clipping and update on labelled clips, in mixed precision if asked."""

    def __init__(
        self,
        model: nn.Module,
        data_loader: Iterable[list[dict]],
        optimizer: torch.optim.Optimizer,
        *,
        clip_total_norm: float = 0.0,
        amp: bool = False,
        on_nonfinite: str = "raise",
        dump_dir: Path | None = None,
        seed: int = -1,
    ) -> None:
        """Below 0, ``seed`` leaves the random state alone; else dropout of an iteration depends on it alone."""
        super().__init__()
        model.train()
        self.model = model
        self.data_loader = data_loader
        self.optimizer = optimizer
        self.clip_total_norm = clip_total_norm
        self.on_nonfinite = on_nonfinite
        self.dump_dir = dump_dir
        self.seed = seed
        self.amp = amp and torch.cuda.is_available()
        self.scaler = torch.amp.GradScaler("cuda", enabled=self.amp)
        self._iterator = None

    def next_batch(self) -> tuple[list[dict], float]:
        """Return the next batch and the seconds spent waiting for it."""
        if self.seed >= 0:
            # As with the loaders' numbered draws, a resumed run needs no state of any rank to go on alike.
            state = np.random.SeedSequence([self.seed, comm.get_rank(), self.iter]).generate_state(1)
            torch.manual_seed(int(state[0]))
        start = time.perf_counter()
        if self._iterator is None:
            self._iterator = iter(self.data_loader)
        return next(self._iterator), time.perf_counter() - start

    def compute_losses(self, batch: list[dict]) -> Losses:
        """Compute the losses of a batch by name, in float32."""
        with torch.autocast("cuda", enabled=self.amp):
            return self.model(batch)

    def run_step(self) -> None:
        """Run one iteration; the losses go to the event storage."""
        batch, data_time = self.next_batch()
        losses = self.compute_losses(batch)
        if self.update(losses, batch):
            write_metrics(losses, data_time)

    def update(self, losses: Losses, batch: list[dict]) -> bool:
        """Run backward and the optimiser step; return False if a loss that is not finite skipped the batch."""
        try:
            check_finite(losses, self.iter, batch, self.dump_dir)
        except NonFiniteLossError:
            # Ranks of one job must take the same path, so only a single process may skip.
            if self.on_nonfinite != "skip" or comm.get_world_size() > 1:
                raise
            get_event_storage().put_scalar("skipped_nonfinite", 1)
            return False
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(sum(losses.values())).backward()
        if self.clip_total_norm > 0:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_total_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return True

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimiser and scaler; the model is saved by the checkpointer."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``; keys may be missing."""
        if "optimizer" in state:
            self.optimizer.load_state_dict(state["optimizer"])
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
