"""The inner loop: one optimisation step on a batch of labelled clips."""

from __future__ import annotations

import logging
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

from mestad_d2.errors import UserError

logger = logging.getLogger(__name__)

Losses = dict[str, Tensor]


# With "skip": the number of unusable batches in a row that ends training, and of batches dumped for debugging.
MAX_SKIPPED_IN_ROW, MAX_DUMPS = 20, 5
# The scaler of half precision halves its scale, at first 65,536, at every overflow; below this nothing is trained.
MIN_SCALE = 2.0**-20


class NonFiniteLossError(FloatingPointError):
    """A loss or gradient is NaN or infinite; the message names the iteration, the losses and the clips."""


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
    raise NonFiniteLossError(message + dumped(iteration, batch, dump_dir))


def dumped(iteration: int, batch: list[dict], dump_dir: Path | None) -> str:
    """Write the clips of a batch beside the run, unless ``MAX_DUMPS`` exist; return an addition to the message."""
    if dump_dir is not None and len(list(dump_dir.glob("nonfinite_*.pth"))) < MAX_DUMPS:
        dump_dir.mkdir(parents=True, exist_ok=True)
        path = dump_dir / f"nonfinite_{iteration:07d}.pth"
        torch.save({"iteration": iteration, "clips": [item["clip"] for item in batch]}, path)
        return f"; the clips are in {path}"
    return ""


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


def check_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Check that an optimiser can take a state.

    Raises:
        UserError: it is of another kind of optimiser, or its groups of parameters are others.
    """
    groups, own = state["param_groups"], optimizer.param_groups
    names = {"betas": "AdamW", "momentum": "SGD"}
    have = next((name for key, name in names.items() if groups and key in groups[0]), "another")
    want = next((name for key, name in names.items() if key in own[0]), type(optimizer).__name__)
    if have != want:
        raise UserError(
            f"--resume: the checkpoint's optimiser is {have}, the config says {want}; resume with "
            f"SOLVER.OPTIMIZER {have}, or start anew with MODEL.WEIGHTS"
        )
    if [len(group["params"]) for group in groups] != [len(group["params"]) for group in own]:
        raise UserError(
            "--resume: the checkpoint's optimiser has other groups of parameters (the decays of norms or biases, "
            "or the model, have changed); resume with the old config, or start anew with MODEL.WEIGHTS"
        )


def check_shapes(optimizer: torch.optim.Optimizer) -> None:
    """Check that a loaded state has the shapes of the parameters.

    Raises:
        UserError: it has others.
    """
    for parameter, state in optimizer.state.items():
        for value in state.values():
            if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
                raise UserError(
                    f"--resume: the optimiser has a state of shape {tuple(value.shape)} for a parameter of "
                    f"{tuple(parameter.shape)}: the model has changed; resume with the old config"
                )


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
        """With ``seed`` 0 or more, dropout of an iteration depends only on it; below 0 the random state is unchanged."""
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
        self._skipped_in_row = 0
        # Whether a state of another optimiser is left out rather than refused.
        self.accept_changes = False

    def next_batch(self) -> tuple[list[dict], float]:
        """Return the next batch and the seconds spent waiting for it."""
        if self.seed >= 0:
            # As with the loaders' numbered draws, a resumed run needs no random state of any rank.
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
        """Run backward and the optimiser step; return False if a loss that is not finite skipped the batch.

        Raises:
            NonFiniteLossError: a loss or gradient is not finite and may not be skipped, or too many were.
        """
        try:
            check_finite(losses, self.iter, batch, self.dump_dir)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(sum(losses.values())).backward()
            self._check_gradients(batch)
        except NonFiniteLossError as error:
            self._skipped_in_row += 1
            if self._skipped_in_row >= MAX_SKIPPED_IN_ROW:
                raise NonFiniteLossError(
                    f"{self._skipped_in_row} batches in a row can't be used; {error}"
                ) from None
            # Ranks of one job must take the same path, so only a single process may skip.
            if self.on_nonfinite != "skip" or comm.get_world_size() > 1:
                raise
            get_event_storage().put_scalar("skipped_nonfinite", 1)
            return False
        self._skipped_in_row = 0
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.amp and self.scaler.get_scale() < MIN_SCALE:
            raise NonFiniteLossError(
                f"iteration {self.iter}: every gradient overflows in half precision, whatever its scale; "
                f"lower SOLVER.BASE_LR or set SOLVER.AMP.ENABLED False (on {describe(batch)})"
            )
        return True

    def _check_gradients(self, batch: list[dict]) -> None:
        """Clip the gradient and check that it is finite, even if the loss is."""
        if self.clip_total_norm > 0:
            self.scaler.unscale_(self.optimizer)
            norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_total_norm)
        elif not self.amp:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            norm = nn.utils.get_total_norm(gradients)
        # In half precision the scaler skips such steps itself and lowers its scale.
        if not self.amp and not bool(torch.isfinite(norm)):
            message = f"iteration {self.iter}: the gradient's norm is {float(norm):g} on {describe(batch)}"
            raise NonFiniteLossError(message + dumped(self.iter, batch, self.dump_dir))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of optimiser and scaler; the model is saved by the checkpointer."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore ``state_dict``; keys may be missing. Rates and decays stay as they are configured.

        Raises:
            UserError: the state is of another optimiser, or of other parameters.
        """
        if "optimizer" in state:
            configured = [{k: v for k, v in g.items() if k != "params"} for g in self.optimizer.param_groups]
            try:
                check_optimizer(self.optimizer, state["optimizer"])
                self.optimizer.load_state_dict(state["optimizer"])
                check_shapes(self.optimizer)
            except UserError as error:
                if not self.accept_changes:
                    raise
                self.optimizer.state.clear()
                logger.warning("the optimiser starts afresh: %s", error)
            for group, values in zip(self.optimizer.param_groups, configured, strict=True):
                group.update(values)
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
