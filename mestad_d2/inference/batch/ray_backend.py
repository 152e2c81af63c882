"""Workers on the machines of a Ray cluster; Ray is an optional extra."""

from __future__ import annotations

import os
from collections.abc import Callable

from mestad_d2.errors import UserError
from mestad_d2.inference.batch.jobs import Finished
from mestad_d2.inference.batch.local_workers import MAX_FALSE_STARTS, WONT_START, Setup, attempt, one_line

# Seconds without any worker before the run gives up.
PATIENCE = 600.0


def connect(address: str) -> None:
    """Join a Ray cluster, unless this process has done so already.

    Args:
        address: ``host:port``, ``ray://...``, or ``auto`` for the cluster that runs on this machine.

    Raises:
        UserError: Ray is not installed, or there is no cluster.
    """
    # Ray would report its use over the network.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise UserError('--ray needs Ray: pip install "ray>=2.9"') from error
    if ray.is_initialized():
        return
    try:
        ray.init(address=address, logging_level="warning", log_to_driver=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"--ray {address}: no cluster there ({reason}); start one with `ray start --head`"
        ) from error


def cluster_size(cpus: int, gpus: int) -> int:
    """Return how many workers of so many CPUs and GPUs fit into the cluster, at least 1."""
    import ray

    total = ray.cluster_resources()
    fit = [int(total.get("CPU", 0) // cpus)] + ([int(total.get("GPU", 0) // gpus)] if gpus else [])
    return max(1, min(fit))


class _Servant:
    """The actor on the cluster: runs the setup once, then videos."""

    def __init__(self, setup: Setup, number: int) -> None:
        self._detect: Callable[[str], bytes] | None = None
        self._broken: str | None = None
        try:
            self._detect = setup(number)
        except Exception as error:  # reported to the main process
            self._broken = one_line(error)

    def broken(self) -> str | None:
        return self._broken

    def detect(self, video: str) -> tuple[str, bytes | str]:
        return attempt(self._detect, video)


class RayWorkers:
    """A ``WorkerPool`` of Ray actors; a dead one is replaced on whatever machine has room.

    Results come back through Ray, so that only the videos and weights need to be seen by all machines.

    Args:
        setup: see ``local_workers.Setup``; it runs once in each actor.
        count: number of actors; where the cluster has no room for all, those that fit work.
        cpus: that Ray reserves for each; gpus: the same.
    """

    def __init__(self, setup: Setup, count: int, cpus: int, gpus: int = 0) -> None:
        import ray

        self._ray, self._setup = ray, setup
        self._actor = ray.remote(num_cpus=cpus, num_gpus=gpus, max_restarts=0)(_Servant)
        self._starting: dict = {}
        self._busy: dict = {}
        self._idle: list = []
        self._false_starts = 0
        for number in range(count):
            self._start(number)

    def free(self) -> int:
        """Return the number of workers that wait for a video."""
        return len(self._idle)

    def submit(self, video: str) -> None:
        """Give a video to a free worker."""
        number, actor = self._idle.pop()
        self._busy[actor.detect.remote(video)] = (number, actor, video)

    def wait(self) -> list[Finished]:
        """Wait until a worker is ready, is done or dies; what ended.

        Raises:
            UserError: a worker can't be set up, or the cluster has room for none.
        """
        patience = None if self._busy or self._idle else PATIENCE
        ready, _ = self._ray.wait([*self._busy, *self._starting], num_returns=1, timeout=patience)
        if not ready:
            raise UserError(f"the Ray cluster had no room for a worker for {PATIENCE:g} s; see `ray status`")
        return [
            done
            for ref in ready
            for done in (self._begun(ref) if ref in self._starting else self._ended(ref))
        ]

    def close(self) -> None:
        """End all workers; the cluster stays."""
        actors = [entry[1] for entry in (*self._starting.values(), *self._busy.values(), *self._idle)]
        for actor in actors:
            self._ray.kill(actor)

    def _start(self, number: int) -> None:
        actor = self._actor.remote(self._setup, number)
        # A video is given only to a worker that is up: a place in the cluster may never become free.
        self._starting[actor.broken.remote()] = (number, actor, 0)

    def _begun(self, ref) -> list[Finished]:
        number, actor, _ = self._starting.pop(ref)
        try:
            broken = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._false_starts += 1
            if self._false_starts > MAX_FALSE_STARTS:
                raise UserError(f"{WONT_START} ({type(error).__name__})") from error
            self._start(number)
            return []
        self._false_starts = 0
        if broken is not None:
            raise UserError(broken)
        self._idle.append((number, actor))
        return []

    def _ended(self, ref) -> list[Finished]:
        number, actor, video = self._busy.pop(ref)
        try:
            kind, answer = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._ray.kill(actor)
            self._start(number)
            return [Finished(video, error=f"its worker died ({type(error).__name__})", lost=True)]
        self._idle.append((number, actor))
        return [Finished(video, content=answer) if kind == "done" else Finished(video, error=answer)]
