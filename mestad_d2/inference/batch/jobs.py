"""Process a list of videos into one result file each, with workers that may die; finished results are kept."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mestad_d2.errors import UserError
from mestad_d2.formats.csv_cells import text_cell
from mestad_d2.formats.files import atomic_open, write_bytes
from mestad_d2.inference.inputs import find_inputs, read_lines
from mestad_d2.video.live.address import shown_address, without_passwords
from mestad_d2.video.source import camera_number

# A video whose worker died is given to another one, once: the video may be what killed it.
ATTEMPTS = 2
# Abort after this many consecutive worker deaths without a result: the videos are not the cause.
MAX_LOSSES_IN_A_ROW = 20
FAILURES, SETTINGS = "failures.csv", "settings.json"


@dataclass(frozen=True)
class Finished:
    """The end of one video's run: its result, or why there is none.

    Attributes:
        video: as in the list.
        content: the result file, None without one.
        error: one line, None where all went well.
        lost: the worker died.
    """

    video: str
    content: bytes | None = None
    error: str | None = None
    lost: bool = False


class WorkerPool(Protocol):
    """Workers, each of which takes one video at a time."""

    def free(self) -> int:
        """Return the number of workers that wait for a video."""

    def submit(self, video: str) -> None:
        """Give a video to a free worker."""

    def wait(self) -> list[Finished]:
        """Wait until something happens; return what ended, possibly nothing."""

    def close(self) -> None:
        """End all workers."""


def run_jobs(videos: Sequence[str], pool: WorkerPool) -> Iterator[Finished]:
    """Run all videos; yields each exactly once, in the order they end.

    Raises:
        UserError: the workers can't be started, or die one after the other.
    """
    waiting, tries, running, losses = deque(videos), Counter(), 0, 0
    while waiting or running:
        while waiting and pool.free():
            video = waiting.popleft()
            tries[video] += 1
            pool.submit(video)
            running += 1
        for done in pool.wait():
            running -= 1
            losses = losses + 1 if done.lost else 0
            if losses > MAX_LOSSES_IN_A_ROW:
                raise UserError(
                    f"{losses} workers died one after the other; use fewer workers if memory is short"
                )
            if done.lost and tries[done.video] < ATTEMPTS:
                waiting.append(done.video)
            else:
                yield done


def read_list(path: str | os.PathLike[str]) -> list[str]:
    """Read the videos of a list: one input a line, each video once; empty lines and # comments are skipped.

    Args:
        path: of a text file, ``-`` for standard input. A line may be whatever ``find_inputs`` knows.

    Raises:
        UserError: no such file, no text, nothing in it, or a camera, which has no end.
    """
    lines = read_lines(path)
    for row, line in enumerate(lines, 1):
        if camera_number(line) is not None:
            raise UserError(f"{path}: row {row}: {line}: a camera has no end; use tools/demo.py --webcam")
    videos = [line for line in lines if line and not line.startswith("#")]
    if not videos:
        raise UserError(f"{path}: no video in this list; write one path a line")
    return once_each(find_inputs(videos))


def once_each(videos: Sequence[str]) -> list[str]:
    """Leave out videos that are named twice; of two spellings of one path the first is kept."""
    once: dict[str, str] = {}
    for video in videos:
        once.setdefault(os.path.abspath(video), video)
    return list(once.values())


def result_name(video: str) -> str:
    """Return the file name of a video's result: its stem and a digest of its whole path."""
    digest = hashlib.sha256(os.fsencode(os.path.abspath(video))).hexdigest()[:10]
    # Stems may be longer than a file system allows once the rest is added.
    stem = os.fsencode(Path(shown_address(video)).stem)[:180].decode(errors="ignore")
    return f"{stem}.{digest}.jsonl"


def check_settings(output: Path, settings: dict) -> None:
    """Record the settings of a result folder; refuse to mix results of other settings.

    Raises:
        UserError: the folder has results of other settings.
    """
    path = output / SETTINGS
    settings = json.loads(json.dumps(settings))
    if path.exists():
        try:
            before = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path}: damaged; remove it, or use another --output") from error
        different = sorted(k for k in {*before, *settings} if before.get(k) != settings.get(k))
        if different:
            raise UserError(
                f"{path}: the results there were made with another {', '.join(different)}; use another --output"
            )
        return
    output.mkdir(parents=True, exist_ok=True)
    write_bytes(path, (json.dumps(settings, indent=1) + "\n").encode())


def unfinished(videos: Sequence[str], output: Path) -> list[str]:
    """Return the videos that have no result yet."""
    return [video for video in videos if not (output / result_name(video)).exists()]


def write_failures(output: Path, failures: Sequence[Finished]) -> None:
    """Write ``failures.csv`` (video, error) of this run; no file where nothing failed."""
    path = output / FAILURES
    if not failures:
        path.unlink(missing_ok=True)
        return
    with atomic_open(path, newline="") as file:
        shown = [(shown_address(done.video), without_passwords(done.error or "")) for done in failures]
        rows = ((text_cell(video), text_cell(error)) for video, error in shown)
        csv.writer(file, lineterminator="\n").writerows([("video", "error"), *rows])
