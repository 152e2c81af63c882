"""Set up a loader process: one thread, ignore SIGINT and delay SIGTERM so that the parent can finish its step."""

from __future__ import annotations

import os
import signal
import threading

import cv2
import torch

# Seconds a loader process continues after SIGTERM, which schedulers send to all processes of a job.
GRACE_SECONDS = 40


class _CvThreads:
    """End OpenCV's threads before a fork: a child that inherits the thread pool without its threads hangs."""

    def __init__(self) -> None:
        self.count = cv2.getNumThreads()
        os.register_at_fork(before=self.end, after_in_parent=self.restore)

    def end(self) -> None:
        self.count = cv2.getNumThreads()
        # Of one thread OpenCV ends the others at once; of none it keeps them.
        cv2.setNumThreads(1)

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
    # A handler can't see the sender of a signal; a thread that waits for the signal can.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_heed_parent, args=(os.getppid(),), daemon=True).start()


def _heed_parent(parent: int) -> None:
    """End at once if the parent sent the signal, else after the grace period."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        signal.alarm(GRACE_SECONDS)
    os._exit(0)
