"""The toy dataset: rendered videos with AVA labels, for the demo and the tests (docs/toy.md).

``make_toy(root)`` writes videos/*.mp4, annotations/{train,val}.csv, label_map.pbtxt,
{train,val}_excluded.csv, dense.csv (every frame) and settings.json.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from mestad_d2.data.toy.actions import TOY_ACTIONS, TOY_FLIP_PAIRS, label_map_text
from mestad_d2.data.toy.video import render_video
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.made_files import MANIFEST, changed_since, is_made, note_made, remove_made

__all__ = ["TOY_ACTIONS", "TOY_FLIP_PAIRS", "make_toy", "toy_is_ready"]

VERSION = 2  # of the pictures and labels; a dataset of another version is rendered anew
FPS = (25, 30)
SPLITS = ("train", "val")


def _settings(seed: int, videos: int, val_videos: int, seconds: float | None, pace: float) -> dict:
    settings = {
        "version": VERSION,
        "seed": seed,
        "videos": videos,
        "val_videos": val_videos,
        "seconds": seconds,
    }
    # The usual pace is not named, so that datasets rendered before there were others still count.
    return settings if pace == 1 else {**settings, "pace": pace}


def toy_is_ready(root: Path, settings: dict) -> bool:
    """Return whether ``root`` holds a finished dataset of exactly these settings."""
    path = Path(root) / "settings.json"
    try:
        return json.loads(path.read_text()) == settings
    except (OSError, ValueError):
        return False


def make_toy(
    root: Path | str,
    seed: int = 0,
    videos: int = 70,
    val_videos: int = 20,
    seconds: float | None = None,
    workers: int | None = None,
    pace: float = 1.0,
) -> None:
    """Render the dataset into ``root``, unless it is there with the same settings.

    ``videos`` and ``val_videos`` count the files of the two splits; ``seconds`` is the length of each (by
    default drawn from 20 to 24); ``workers`` processes render (default: one per usable core) and don't change
    what is rendered; actions last
    ``pace`` times as long as usual. Everything is written beside ``root`` first and renamed at the end. A dataset
    of other settings makes room; other files in the folder stay.

    Raises UserError if ``root`` holds something else than a toy dataset, or a toy dataset whose files somebody
    changed, or a number makes no sense.
    """
    root = Path(os.path.realpath(root))
    settings = _settings(seed, videos, val_videos, seconds, pace)
    if toy_is_ready(root, settings):
        return
    if videos < 0 or val_videos < 0 or (seconds is not None and seconds < 2) or pace <= 0:
        raise UserError(f"{root}: numbers of videos must be 0 or more, seconds 2 or more, the pace above 0")
    _check_folder(root)
    part = root.with_name(f".{root.name}.part{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        _render(part, settings, workers)
        note_made(part, [path for path in part.rglob("*") if path.is_file()])
        _take_place(part, root)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _check_folder(root: Path) -> None:
    """Refuse a folder in which rendering would overwrite a user's files."""
    if not root.exists():
        return
    if not root.is_dir():
        raise UserError(f"{root}: is a file; name another --output")
    if changed := changed_since(root):
        raise UserError(
            f"{changed[0]}: was changed since it was rendered; move it away or name another --output"
        )
    if is_made(root) or not any(root.iterdir()):
        return
    if (root / "settings.json").is_file():
        raise UserError(
            f"{root}: holds a toy dataset of other settings without a list of its files; remove it or name "
            "another --output"
        )
    raise UserError(f"{root}: holds files that are no toy dataset; name another --output or empty it")


def _take_place(part: Path, root: Path) -> None:
    """Move a rendered dataset to its place: as a whole, or file by file where others' files are there."""
    # A file may have been changed during the minutes of rendering.
    _check_folder(root)
    remove_made(root)
    if root.exists() and not any(root.iterdir()):
        root.rmdir()
    if not root.exists():
        part.rename(root)
        return
    # The list comes first and the settings, which tell a finished dataset, last.
    last = {MANIFEST: 0, "settings.json": 2}
    files = sorted((p for p in part.rglob("*") if p.is_file()), key=lambda path: last.get(path.name, 1))
    for path in files:
        target = root / path.relative_to(part)
        if target.exists():
            raise UserError(
                f"{target}: is no file of a rendered dataset; move it away or name another --output"
            )
    for path in files:
        target = root / path.relative_to(part)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)


def _jobs(part: Path, settings: dict) -> list[tuple]:
    jobs = []
    for number, (split, count) in enumerate(
        zip(SPLITS, (settings["videos"], settings["val_videos"]), strict=True)
    ):
        for index in range(count):
            seed = (settings["seed"], number, index)
            length = settings["seconds"] or float(20 + np.random.default_rng([*seed, 1]).integers(5))
            name = f"toy_{split}_{index:03d}"
            jobs.append(
                (
                    part / "videos" / f"{name}.mp4",
                    name,
                    seed,
                    FPS[index % 2],
                    length,
                    settings.get("pace", 1.0),
                )
            )
    return jobs


def _job(job: tuple) -> list[str]:
    import cv2

    cv2.setNumThreads(1)  # the processes share the cores already
    return render_video(*job)


def _render(part: Path, settings: dict, workers: int | None) -> None:
    (part / "videos").mkdir(parents=True)
    (part / "annotations").mkdir()
    jobs = _jobs(part, settings)
    workers = min(workers or len(os.sched_getaffinity(0)), len(jobs))
    if workers <= 1 or len(jobs) <= 4:
        rows = [_job(job) for job in jobs]
    else:
        with ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool:
            rows = list(pool.map(_job, jobs))
    for number, split in enumerate(SPLITS):
        lines, excluded = [], []
        rng = np.random.default_rng([settings["seed"], 2, number])
        for job, video_rows in zip(jobs, rows, strict=True):
            if job[2][1] == number:
                lines += key_frame_rows(video_rows, job[4])
                if rng.random() < 0.1:
                    excluded.append(f"{job[1]},{rng.integers(1, int(job[4])):04d}")
        _write(part / "annotations" / f"{split}.csv", lines)
        _write(part / "annotations" / f"{split}_excluded.csv", excluded)
    _write(part / "annotations" / "dense.csv", [row for video_rows in rows for row in video_rows])
    (part / "annotations" / "label_map.pbtxt").write_text(label_map_text())
    (part / "settings.json").write_text(json.dumps(settings))


def key_frame_rows(rows: list[str], seconds: float) -> list[str]:
    """Return a video's dense rows on whole seconds, except at its two ends, in AVA's form."""
    kept = []
    for row in rows:
        video, time, rest = row.split(",", 2)
        whole, fraction = time.split(".")
        if fraction == "000000" and 0 < int(whole) < seconds:
            kept.append(f"{video},{int(whole):04d},{rest}")
    return kept


def _write(path: Path, lines: list[str]) -> None:
    path.write_text("".join(line + "\n" for line in lines))


@one_line_errors()
def main() -> None:
    """Render the toy dataset, or print a summary of an existing one."""
    parser = argparse.ArgumentParser(description="Render the toy dataset (docs/toy.md).")
    parser.add_argument("--output", default="datasets/toy", help="folder of the dataset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--videos", type=int, default=70, help="training videos")
    parser.add_argument("--val-videos", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=None, help="of every video (default: 20 to 24)")
    parser.add_argument("--pace", type=float, default=1.0, help="how much longer actions last")
    parser.add_argument("--workers", type=int, default=None, help="processes (default: one per core)")
    args = parser.parse_args()
    make_toy(args.output, args.seed, args.videos, args.val_videos, args.seconds, args.workers, args.pace)


if __name__ == "__main__":
    main()
