"""Handle SIGTERM and SIGINT in training: finish the step, save, and exit with a specific code."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any

import torch
from detectron2.engine.train_loop import HookBase
from detectron2.utils import comm

from mestad_d2.process_setup import EXIT_SAVED

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A process whose peers are gone may never finish its step; it is ended after this many seconds.
GRACE_SECONDS = 40
# What a loader without further batches gives.
_END = object()


class Stopped(SystemExit):
    """Training ends on a signal, saved; the process exits with ``EXIT_SAVED``."""

    def __init__(self) -> None:
        super().__init__(EXIT_SAVED)


class StopRequest:
    """Whether this process was asked to stop; one object per process."""

    def __init__(self) -> None:
        self.received: str | None = None
        self.between_steps = False
        # Set while the current step has not begun its work: a resumed run repeats it.
        self.before_step = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; a second Ctrl-C does not wait for the step."""
        again = self.received is not None
        self.received = signal.Signals(number).name
        if again and number == signal.SIGINT:
            raise KeyboardInterrupt
        if comm.get_world_size() > 1:
            signal.alarm(GRACE_SECONDS)

    def heard_anywhere(self) -> bool:
        """Return whether any process received a signal, so that all stop after the same step."""
        return _anywhere(self.received is not None)[0]

    def stop(self) -> None:
        """End training between two steps.

        Raises:
            Stopped: always.
        """
        self.between_steps = True
        raise Stopped


STOP = StopRequest()


def _anywhere(*here: bool) -> list[bool]:
    """For each flag, whether it is set in any process; all processes must call it."""
    if comm.get_world_size() == 1:
        return list(here)
    flags = torch.tensor(here, dtype=torch.int32)
    torch.distributed.all_reduce(
        flags, op=torch.distributed.ReduceOp.MAX, group=comm._get_global_gloo_group()
    )
    return flags.bool().tolist()


class StoppableLoader:
    """A loader for a pass over a dataset that ends training at the next batch after a signal.

    With several processes, all make the pass and stop together, also where they have different numbers of batches:
    one that left alone would make the others fail in the exchange of results after the pass.

    Args:
        loader: batches.
        before_step: the pass comes before the work of the current step, not after it.
    """

    def __init__(self, loader: Iterable, before_step: bool = False) -> None:
        self.loader, self.before_step = loader, before_step

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator:
        batches, left = iter(self.loader), True
        while True:
            batch = next(batches, _END) if left else _END
            left = batch is not _END
            stop, any_left = _anywhere(STOP.received is not None, left)
            if not any_left:
                return
            if stop:
                STOP.before_step = self.before_step
                STOP.stop()
            if left:
                yield batch


class StopOnSignal(HookBase):
    """End training after the step in which SIGTERM or SIGINT came, and write a checkpoint.

    Register it last, so that other hooks finish their work after the step first. Outside the main thread Python
    receives no signals, and the hook does nothing.
    """

    def __init__(self) -> None:
        self._before: dict[int, Any] = {}

    def before_train(self) -> None:
        """Install the signal handlers."""
        STOP.received, STOP.between_steps, STOP.before_step = None, False, False
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, STOP.note) for number in SIGNALS}

    def after_step(self) -> None:
        """Stop if any process was asked to; the last step ends by itself."""
        if STOP.heard_anywhere() and self.trainer.iter + 1 < self.trainer.max_iter:
            STOP.stop()

    def after_train(self) -> None:
        """Save if training was stopped between two steps, and restore the signal handlers."""
        if STOP.between_steps and self.trainer.iter + 1 < self.trainer.max_iter:
            signal.alarm(0)
            # A checkpoint stores the trainer's iteration.
            self.trainer.iter -= STOP.before_step
            iteration = self.trainer.iter
            self.trainer.checkpointer.save(f"model_{iteration:07d}", iteration=iteration)
            logger.warning(
                "%s: saved after iteration %d; go on with --resume (exit code %d)",
                STOP.received or "a signal to another process",
                iteration,
                EXIT_SAVED,
            )
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
