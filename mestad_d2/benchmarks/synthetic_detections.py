"""Ground truth and detections of the size of AVA's validation set, by seed: to measure speed with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mestad_d2.evaluation.detections import write_csv
from mestad_d2.evaluation.rows import Rows

AVA_IDS = tuple(
    i
    for i in range(1, 81)
    if i not in (2, 16, 18, 19, 21, 23, 25, 31, 32, 33, 35, 39, 40, 42, 44, 50, 53, 55, 71, 75)
)


def write_ava_size(
    folder: Path, num_frames: int = 57_000, num_rows: int = 850_000, seed: int = 0
) -> tuple[Path, Path, Path]:
    """Write ``groundtruth.csv``, ``detections.csv`` and ``labelmap.pbtxt``; return their paths.

    Frames have one to four persons with two or three of AVA's 60 evaluated actions each; detections are
    those persons' boxes, moved a little, with random scores, and rows of random actions on them.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    keys = [f"video{i // 897:06d},{902 + i % 897}" for i in range(num_frames)]
    person_frame = np.repeat(np.arange(num_frames), rng.integers(1, 5, num_frames))
    low = rng.uniform(0, 0.6, (len(person_frame), 2))
    persons = np.concatenate([low, low + rng.uniform(0.1, 0.4, low.shape)], axis=1)
    ids = np.array(AVA_IDS)
    # A few frequent classes and a long tail, as in AVA.
    share = 1.0 / np.arange(1, len(ids) + 1)
    share /= share.sum()

    gt_person = np.repeat(np.arange(len(persons)), rng.integers(2, 4, len(persons)))
    gt = _rows(
        keys, person_frame[gt_person], persons[gt_person].round(3), rng.choice(ids, len(gt_person), p=share)
    )
    write_csv(folder / "groundtruth.csv", gt)

    det_person = np.sort(rng.integers(0, len(persons), num_rows))
    moved = np.clip(persons + rng.normal(0, 0.03, persons.shape), 0, 1)
    actions = rng.choice(ids, num_rows, p=share)
    hit = rng.random(num_rows) < 0.2
    # Rows of one person are neighbours, so the person's first ground-truth row is found by its number.
    actions[hit] = gt.actions[np.searchsorted(gt_person, det_person[hit])]
    det = _rows(keys, person_frame[det_person], moved[det_person], actions)
    det.scores = np.clip(rng.beta(0.5, 3, num_rows) + 0.3 * hit * rng.random(num_rows), 0, 1)
    write_csv(folder / "detections.csv", det)

    lines = (f'item {{\n  name: "action {i}"\n  id: {i}\n}}\n' for i in AVA_IDS)
    (folder / "labelmap.pbtxt").write_text("".join(lines))
    return tuple(folder / name for name in ("groundtruth.csv", "detections.csv", "labelmap.pbtxt"))


def ava_size_persons(
    num_frames: int = 57_000, per_frame: float = 2.5, seed: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Make persons by frame and detections of them, the arguments of ``person_ap``.

    Args:
        per_frame: mean number of detections of a frame, each beside one of its one to four persons.
    """
    rng = np.random.default_rng(seed)
    truth, found = {}, {}
    counts = rng.integers(1, 5, num_frames)
    for i, (count, number) in enumerate(zip(counts, rng.poisson(per_frame, num_frames), strict=True)):
        low = rng.uniform(0, 0.6, (count, 2))
        persons = np.concatenate([low, low + rng.uniform(0.1, 0.4, low.shape)], axis=1)
        moved = persons[rng.integers(0, count, number)] + rng.normal(0, 0.02, (number, 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
        truth[f"frame{i}"] = persons
        found[f"frame{i}"] = moved, rng.random(number, dtype=np.float32)
    return truth, found


def _rows(keys: list[str], frame: np.ndarray, boxes: np.ndarray, actions: np.ndarray) -> Rows:
    n = len(frame)
    return Rows(keys, frame, boxes, actions, np.ones(n), np.zeros(n, dtype=np.int64))
