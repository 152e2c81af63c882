"""How a loader's process starts: one thread, and deaf to signals that are meant for the run."""

from __future__ import annotations

import os
import signal
import threading

import cv2
import torch

# Seconds that a loader process outlives a SIGTERM, which schedulers send to all processes of a job.
GRACE_SECONDS = 40


class _CvThreads:
    """Ends OpenCV's threads before a fork: a child that inherits them without their threads hangs."""

    def __init__(self) -> None:
        self.count = cv2.getNumThreads()
        os.register_at_fork(before=self.end, after_in_parent=self.restore)

    def end(self) -> None:
        self.count = cv2.getNumThreads()
        cv2.setNumThreads(0)

    def restore(self) -> None:
        cv2.setNumThreads(self.count)


_CV_THREADS = _CvThreads()


def start_worker(worker: int) -> None:
    """Set up loader worker number ``worker``: the ``worker_init_fn`` of all loaders.

    Training finishes its step when asked to end, and needs its loaders for that.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A handler would not learn who sent the signal; a thread that waits for it does.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_heed_parent, args=(os.getppid(),), daemon=True).start()


def _heed_parent(parent: int) -> None:
    """End at once when the loader's own process says so, else after the grace."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        signal.alarm(GRACE_SECONDS)
    os._exit(0)
