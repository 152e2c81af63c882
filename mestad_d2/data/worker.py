"""How a loader's process starts: one thread, and deaf to signals that are meant for the run."""

from __future__ import annotations

import signal

import cv2
import torch

# Seconds that a loader process outlives a SIGTERM, which schedulers send to all processes of a job.
GRACE_SECONDS = 40


def start_worker(worker: int) -> None:
    """``worker_init_fn`` of all loaders; ``worker`` is its number.

    Training finishes its step when asked to end, and needs its loaders for that.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.alarm(GRACE_SECONDS))
