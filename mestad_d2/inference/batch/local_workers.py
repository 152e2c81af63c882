"""Worker processes on this machine, each with its own pipe, so that a killed one does not block others."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from mestad_d2.errors import UserError
from mestad_d2.inference.batch.jobs import Finished

# makes, from the worker's number, the function video -> result; must be picklable.
Setup = Callable[[int], Callable[[str], bytes]]
# Give up after this many failed starts in a row.
MAX_FALSE_STARTS = 8
WONT_START = "workers die while they load the model; use fewer of them if memory is short"


# Of a worker process: its end of the pipe, and when it last said that it is alive.
_pipe: Connection | None = None
_said = [0.0]


@dataclass
class _Worker:
    number: int
    process: BaseProcess
    pipe: Connection
    up: bool = False
    video: str | None = None
    since: float = 0.0
    heard: float = 0.0


class LocalWorkers:
    """A ``WorkerPool`` of processes that are started anew when they die.

    Args:
        setup: see ``Setup``; it runs once in each process.
        count: number of processes.
        time_limit: seconds after which a video's worker is ended, None for no limit.
        stall_limit: the same for seconds without a sign of life (``alive``).
        start_method: of ``multiprocessing``. A forked process would inherit threads that are gone, and
            could not use a GPU.
    """

    def __init__(
        self,
        setup: Setup,
        count: int,
        time_limit: float | None = None,
        start_method: str = "spawn",
        stall_limit: float | None = None,
    ) -> None:
        self._context = multiprocessing.get_context(start_method)
        self._setup, self._false_starts = setup, 0
        self._time_limit, self._stall_limit = time_limit, stall_limit
        self._workers: list[_Worker] = []
        try:
            for number in range(count):
                self._workers.append(self._start(number))
        except BaseException:
            self.close()
            raise

    def free(self) -> int:
        """Return the number of workers that wait for a video."""
        return sum(worker.up and worker.video is None for worker in self._workers)

    def submit(self, video: str) -> None:
        """Give a video to a free worker."""
        worker = next(w for w in self._workers if w.up and w.video is None)
        worker.video, worker.since = video, time.monotonic()
        worker.heard = worker.since
        # A worker that died while idle is found by ``wait``.
        with contextlib.suppress(OSError):
            worker.pipe.send(video)

    def wait(self) -> list[Finished]:
        """Wait until a worker is up, a video ends, a worker dies or its time is over; what ended.

        Raises:
            UserError: the workers can't be set up.
        """
        active = [w for w in self._workers if w.video is not None or not w.up]
        ready = set(wait([x for w in active for x in (w.pipe, w.process.sentinel)], self._patience()))
        heard = [self._hear(w) for w in active if w.pipe in ready or w.process.sentinel in ready]
        late = [] if ready else [self._end_late(w) for w in active if self._left(w) <= 0]
        return [done for done in heard + late if done is not None]

    def pids(self) -> dict[int, str | None]:
        """Process ids of the workers and their current videos."""
        return {worker.process.pid: worker.video for worker in self._workers}

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()

    def _start(self, number: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(self._setup, number, theirs), daemon=True)
        # Spawning starts Python's tracker of shared memory, and that lets signals in again.
        resource_tracker.ensure_running()
        # A signal handler that raises would leave a half-started process.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # A dead worker's pipe reports its end only if no other process holds the other side.
        theirs.close()
        return _Worker(number, process, ours)

    def _replace(self, worker: _Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self._workers[self._workers.index(worker)] = self._start(worker.number)

    def _left(self, worker: _Worker) -> float:
        if worker.video is None:
            return float("inf")
        limits = ((worker.since, self._time_limit), (worker.heard, self._stall_limit))
        return (
            min((start + limit for start, limit in limits if limit is not None), default=float("inf"))
            - time.monotonic()
        )

    def _patience(self) -> float | None:
        left = min(map(self._left, self._workers))
        return None if left == float("inf") else max(0.0, left)

    def _hear(self, worker: _Worker) -> Finished | None:
        video = worker.video
        try:
            # A process that has ended may still have left its answer.
            if not worker.pipe.poll():
                raise EOFError
            kind, answer = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join(5)
            code = worker.process.exitcode
            self._replace(worker)
            if video is None:
                self._false_starts += 1
                if self._false_starts > MAX_FALSE_STARTS:
                    raise UserError(f"{WONT_START} (exit code {code})") from None
                return None
            return Finished(video, error=f"its worker died (exit code {code})", lost=True)
        if kind == "broken":
            raise UserError(answer)
        if kind == "up":
            worker.up, self._false_starts = True, 0
            return None
        if kind == "alive":
            worker.heard = time.monotonic()
            return None
        worker.video = None
        return Finished(video, content=answer) if kind == "done" else Finished(video, error=answer)

    def _end_late(self, worker: _Worker) -> Finished:
        video, now = worker.video, time.monotonic()
        self._replace(worker)
        if self._time_limit is not None and now - worker.since >= self._time_limit:
            return Finished(video, error=f"not done after {self._time_limit:g} s")
        return Finished(video, error=f"no key frame for {self._stall_limit:g} s")


def attempt(detect: Callable[[str], bytes], video: str) -> tuple[str, bytes | str]:
    """Run a video; return ("done", result) or ("failed", reason in one line)."""
    try:
        return "done", detect(video)
    except Exception as error:  # one bad video must not end the others
        return "failed", one_line(error)


def one_line(error: BaseException) -> str:
    """Describe an error in one line, with its type unless it is the user's."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"


def alive() -> None:
    """Say, from within a worker, that its video makes progress; at most once a second."""
    now = time.monotonic()
    if _pipe is not None and now - _said[0] >= 1:
        _said[0] = now
        with contextlib.suppress(OSError):
            _pipe.send(("alive", None))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _serve(setup: Setup, number: int, pipe: Connection) -> None:
    global _pipe
    # Ctrl-C reaches the whole group; the main process decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The main process's own handler may have been inherited, and that it was not to be disturbed.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
    # If the main process is killed, no process is left to end the worker.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _pipe = pipe
    try:
        detect = setup(number)
    except Exception as error:  # reported to the main process
        pipe.send(("broken", one_line(error)))
        return
    pipe.send(("up", None))
    while True:
        try:
            pipe.send(attempt(detect, pipe.recv()))
        except (EOFError, OSError):
            # The main process is gone.
            return
