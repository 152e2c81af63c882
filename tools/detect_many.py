#!/usr/bin/env python
"""Detect actions in many videos: one file of JSON lines each, by several processes or machines; resumable."""

# ruff: noqa: E402  (signals are listened to before the libraries are imported, which takes seconds)
from __future__ import annotations

import signal

from mestad_d2.process_setup import leave_on_signals

STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}
if __name__ == "__main__":
    leave_on_signals(STOPPED)

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from mestad_d2.errors import UserError, counted, one_line_errors
from mestad_d2.inference.arguments import (
    INPUTS,
    add_config_options,
    add_detector_arguments,
    add_people_argument,
    add_persons_arguments,
    add_rate_argument,
    add_speed_arguments,
    add_stream_argument,
    add_tubes_argument,
    add_window_arguments,
    check_streams,
    check_window,
    detector_config,
    mode_of_arguments,
)
from mestad_d2.process_setup import start_quickly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_detector_arguments(parser)
    add_persons_arguments(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--list", help="text file of inputs, one a line; - for standard input")
    which.add_argument("--input", nargs="+", metavar="INPUT", help=INPUTS)
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for the results; those in it are kept"
    )
    add_rate_argument(parser)
    add_window_arguments(parser)
    add_stream_argument(parser)
    add_people_argument(parser)
    parser.add_argument(
        "--score-threshold", type=float, default=0.05, help="least action score that is kept (%(default)s)"
    )
    parser.add_argument(
        "--person-threshold", type=float, default=0.3, help="least person score that is kept (%(default)s)"
    )
    parser.add_argument("--workers", type=int, help="default: one a GPU, or as --cpus-per-worker allows")
    parser.add_argument("--cpus-per-worker", type=int, default=4, help="threads of a worker (%(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="how long a stream is watched")
    parser.add_argument("--time-limit", type=float, help="seconds a video may take (without --ray)")
    parser.add_argument(
        "--stall-limit",
        type=float,
        default=600.0,
        help="seconds a video may take without a further key frame, 0: any (without --ray; %(default)g)",
    )
    parser.add_argument(
        "--ray", nargs="?", const="auto", metavar="ADDRESS", help="use a Ray cluster (docs/many_videos.md)"
    )
    add_tubes_argument(parser)
    add_speed_arguments(parser)
    add_config_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    # Before the imports below, which take seconds: --help and wrong flags are answered at once.
    ARGUMENTS = parse()
    start_quickly()

import torch

from mestad_d2.formats.files import write_bytes
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.inference.action_names import action_names
from mestad_d2.inference.batch import ray_backend
from mestad_d2.inference.batch.jobs import (
    FAILURES,
    SETTINGS,
    Finished,
    WorkerPool,
    check_settings,
    once_each,
    read_list,
    result_name,
    run_jobs,
    unfinished,
    write_failures,
)
from mestad_d2.inference.batch.local_workers import LocalWorkers
from mestad_d2.inference.batch.worker_setup import WorkerSetup
from mestad_d2.inference.inputs import STDIN, find_inputs
from mestad_d2.inference.output_files import output_folder, said_if_unwritable
from mestad_d2.video.live.address import shown_address


def make_setup(args: argparse.Namespace) -> WorkerSetup:
    """Read and check the workers' settings.

    Raises:
        UserError: an argument makes no sense, or a file is missing.
    """
    if min(args.cpus_per_worker, 1 if args.workers is None else args.workers) < 1:
        raise UserError("--workers and --cpus-per-worker must be at least 1")
    if not args.keyframes_per_second > 0:
        raise UserError(f"--keyframes-per-second: {args.keyframes_per_second} is not above 0")
    check_window(args)
    cfg = detector_config(args)
    return WorkerSetup(
        cfg=cfg,
        names=action_names(cfg, args.labels),
        speed=mode_of_arguments(args, cfg.MODEL.DEVICE),
        keyframes_per_second=args.keyframes_per_second,
        mode=args.mode,
        tubes=args.tubes,
        score_threshold=args.score_threshold,
        person_threshold=args.person_threshold,
        threads=args.cpus_per_worker,
        imports=tuple(args.imports),
        start=args.start,
        end=args.end,
        seconds=args.seconds,
        stream=args.stream,
    )


def make_pool(args: argparse.Namespace, setup: WorkerSetup, jobs: int) -> WorkerPool:
    """Start workers here or on a Ray cluster, no more than there are videos."""
    on_gpu = setup.cfg.MODEL.DEVICE.startswith("cuda")
    if args.ray:
        ray_backend.connect(args.ray)
        count = args.workers or ray_backend.cluster_size(args.cpus_per_worker, int(on_gpu))
        return ray_backend.RayWorkers(setup, min(count, jobs), args.cpus_per_worker, int(on_gpu))
    count = torch.cuda.device_count() if on_gpu else (os.cpu_count() or 1) // args.cpus_per_worker
    count = min(args.workers or max(count, 1), jobs)
    return LocalWorkers(setup, count, args.time_limit, stall_limit=args.stall_limit or None)


def run(output: Path, videos: list[str], pool: WorkerPool, done_before: int) -> list[Finished]:
    """Run the videos with progress; writes each result as it comes and returns the failures."""
    failures: list[Finished] = []
    total, key_frames, start = done_before + len(videos), 0, time.perf_counter()
    with deferred():
        bar = tqdm(total=total, initial=done_before, unit=" videos", desc="detect", dynamic_ncols=True)
    with bar:
        for done in run_jobs(videos, pool):
            if done.content is None:
                failures.append(done)
                bar.write(f"failed: {shown_address(done.video)}: {done.error}", file=sys.stderr)
            else:
                with said_if_unwritable(output):
                    write_bytes(output / result_name(done.video), done.content)
                key_frames += done.content.count(b'"people": ')
            speed = key_frames / (time.perf_counter() - start)
            bar.set_postfix_str(f"{speed:.1f} key frames/s, {len(failures)} failed", refresh=False)
            bar.update()
    return failures


class Stopped(BaseException):
    """SIGINT or SIGTERM was received; ``code`` is the shell's exit status for it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.code = STOPPED[signal.Signals(number)]


def _stop(number: int, _frame: object) -> None:
    raise Stopped(number)


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGINT and SIGTERM into ``Stopped``; outside the main thread there are no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _stop) for number in STOPPED}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """Raise ``Stopped`` at the end of the block for a signal inside it; a half-made bar prints a traceback."""
    if signal.getsignal(signal.SIGTERM) is not _stop:
        yield
        return
    received: list[int] = []
    for number in STOPPED:
        signal.signal(number, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        for number in STOPPED:
            signal.signal(number, _stop)
    if received:
        raise Stopped(received[0])


@one_line_errors()
def main(args: argparse.Namespace) -> int:
    """Run what is not done yet. Returns 0, 1 if videos failed, 130 or 143 if stopped by Ctrl-C or SIGTERM."""
    try:
        with stoppable():
            return detect(args)
    except (Stopped, KeyboardInterrupt) as stop:
        print("stopped; the same command goes on where this one ended", file=sys.stderr)
        return getattr(stop, "code", 130)


def detect(args: argparse.Namespace) -> int:
    """Do the work of ``main``."""
    videos = read_list(args.list) if args.list else once_each(find_inputs(args.input))
    check_streams(args, videos)
    setup = make_setup(args)
    refuse_overwriting_inputs(
        [
            *videos,
            None if args.list == STDIN else args.list,
            args.config_file,
            args.labels,
            setup.cfg.MODEL.WEIGHTS,
        ],
        [args.output / name for name in (*map(result_name, videos), FAILURES, SETTINGS)],
    )
    output_folder(args.output)
    check_settings(args.output, setup.settings())
    todo = unfinished(videos, args.output)
    failures: list[Finished] = []
    if todo:
        pool = make_pool(args, setup, len(todo))
        try:
            failures = run(args.output, todo, pool, len(videos) - len(todo))
        finally:
            pool.close()
    with said_if_unwritable(args.output):
        write_failures(args.output, failures)
    already = len(videos) - len(todo)
    print(
        f"{counted(len(todo) - len(failures), 'video')} done, {already} were done before, {len(failures)} failed"
    )
    if failures:
        print(
            f"the failed ones are in {args.output / FAILURES}; the same command tries them again",
            file=sys.stderr,
        )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(ARGUMENTS))
