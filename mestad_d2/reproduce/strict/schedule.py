"""Execute many runs at once: each waits for its burn-in only, results are written one by one, until a deadline."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from mestad_d2.reproduce.strict.data import CONDITIONS
from mestad_d2.reproduce.strict.rows import ROWS, Task
from mestad_d2.reproduce.strict.training import Plan, burn_in_file, run_task, task_key, teacher_file

# Least share of a run in estimates.
MARGIN = 1.1


def start_process(threads: int) -> None:
    """Prepare a process that runs tasks: one thread, little logging."""
    import cv2
    import torch

    torch.set_num_threads(threads)
    cv2.setNumThreads(1)
    logging.disable(logging.INFO)


def read_results(path: Path) -> list[dict]:
    """Read the results of finished runs, of each run the last; a truncated line is left out."""
    found = {}
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            result = json.loads(line)
        except json.JSONDecodeError:
            continue
        found.pop(result["key"], None)
        found[result["key"]] = result
    return list(found.values())


def work_of(plan: Plan, task: Task) -> float:
    """Estimate the work of a run, in iterations on labelled clips."""
    burn_in, iterations = plan.length(CONDITIONS[task.condition])
    return burn_in if task.row is None else iterations * ROWS[task.row].cost


def run_tasks(
    plan: Plan, tasks: Sequence[Task], results: Path, jobs: int, seconds: float | None
) -> list[str]:
    """Run what is not in ``results`` yet, in order; return the messages of those that failed.

    Args:
        results: JSON lines, one a finished run, written as soon as it ends.
        jobs: processes.
        seconds: runs that would end later are not started; runs still going then are aborted.
    """
    began = time.perf_counter()
    known = {result["key"] for result in read_results(results)}
    missing = [task for task in tasks if task_key(plan, task) not in known]
    # Rows are compared from one checkpoint; where it is lost, those that were finished begin again too.
    again = {(task.condition, task.seed) for task in missing if not burn_in_file(plan, task).is_file()}
    waiting = [task for task in tasks if task in missing or (task.condition, task.seed) in again]
    total, done, spent, worked = len(waiting), 0, 0.0, 0.0
    failures: list[str] = []
    lost: set[tuple[str, int]] = set()
    running: dict[Future, Task] = {}
    restarts = 3
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), start_process, (1,))
    results.parent.mkdir(parents=True, exist_ok=True)

    def left() -> float:
        return float("inf") if seconds is None else seconds - (time.perf_counter() - began)

    def take() -> Task | None:
        """The next run that may begin: a burn-in where one is missing, else the first that has its own."""
        busy = {(task.condition, task.seed) for task in running.values() if task.row is None}
        rate = spent / worked if worked else 0.0
        for task in list(waiting):
            place = (task.condition, task.seed)
            if place in lost:
                waiting.remove(task)
            elif not burn_in_file(plan, task).is_file():
                burn_in = replace(task, row=None)
                both = work_of(plan, burn_in) + work_of(plan, task)
                if place not in busy and both * rate * MARGIN <= left():
                    return burn_in
            elif (after := ROWS[task.row].after) and not teacher_file(
                plan, replace(task, row=after)
            ).is_file():
                continue
            elif work_of(plan, task) * rate * MARGIN <= left():
                waiting.remove(task)
                return task
        return None

    try:
        while waiting or running:
            while len(running) < jobs and left() > 0 and (task := take()) is not None:
                running[pool.submit(run_task, plan, task)] = task
            if not running:
                break
            for future in wait(running, timeout=min(left(), 3600.0), return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                name = f"{task.condition}, seed {task.seed}, {task.row or 'burn-in'}"
                error = future.exception()
                if isinstance(error, BrokenProcessPool) and restarts:
                    # One process died and broke the pool; the others' runs are restarted.
                    restarts -= 1
                    print(f"a process ended without a result; {name} and others begin again", flush=True)
                    again = [task, *running.values()]
                    running.clear()
                    waiting[:0] = [task for task in again if task.row is not None]
                    pool.shutdown(wait=False, cancel_futures=True)
                    pool = ProcessPoolExecutor(jobs, get_context("spawn"), start_process, (1,))
                    break
                if error is not None:
                    failures.append(f"{name}: {error!r}")
                    lost |= {(task.condition, task.seed)} if task.row is None else set()
                    print(f"failed: {failures[-1]}", flush=True)
                    continue
                result = future.result()
                with results.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                    file.flush()
                    os.fsync(file.fileno())
                spent, worked = spent + result["seconds"], worked + work_of(plan, task)
                done += task.row is not None
                figure = result.get("teacher_test_map", result.get("burn_in_test_map"))
                print(f"[{done}/{total}] {time.perf_counter() - began:.0f} s  {name}: {figure:.2f} mAP in "
                      f"{result['seconds']:.0f} s", flush=True)  # fmt: skip
            if left() <= 0:
                break
    finally:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=not running, cancel_futures=True)
        for process in processes if running else ():
            process.kill()
    return failures
