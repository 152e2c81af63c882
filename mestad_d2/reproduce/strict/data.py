"""The data of the strict comparison: training data, and videos that no earlier figure used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mestad_d2.data.check.label_changes import LabelChanges, label_changes
from mestad_d2.data.toy.actions import TOY_FLIP_PAIRS
from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.formats.ava_csv import read_ground_truth
from mestad_d2.video.decoded import decode_all

# Seeds of rendered videos: choices are made on DEV, TEST is evaluated once.
TRAIN_SEED, DEV_SEED, TEST_SEED = 0, 101, 202
# As in AVA (and as reproduce.person_boxes simulates a detector): shares of persons and of actions that
# annotators miss, and how far edges are off, in box sides.
MISSED, SHIFT, FORGOTTEN = 0.04, 0.04, 0.05


@dataclass(frozen=True)
class Condition:
    """Data of one point of the comparison.

    Attributes:
        gap: s between two labels; pace: how much longer the toy's actions last; noise: whether training labels
            have people's faults.
        real: real clips instead of the toy.
        tests: test videos of the toy, as a multiple of the table's. Between seeds, what differs by chance is
            mostly the few test videos, and evaluating more of them costs little.
    """

    name: str
    gap: int = 1
    pace: float = 1.0
    noise: bool = False
    real: bool = False
    tests: int = 3

    @property
    def config(self) -> str:
        """Config of its runs, below ``configs``."""
        return f"ablations/table5_strict/{'ucf24' if self.real else 'toy'}.yaml"

    @property
    def title(self) -> str:
        """What is special about it, in words."""
        if self.real:
            return f"real clips, labels every {self.gap} s"
        if self.noise:
            return "annotators' faults"
        if self.pace != 1:
            return f"actions last {self.pace:g} times as long"
        return f"labels every {self.gap} s" + (", the table's videos" if self.name == "toy" else "")

    @property
    def splits(self) -> tuple[str, ...]:
        """The evaluated splits, in order: choices are made on "dev"."""
        return ("dev", "test") if self.name == "toy" else ("test",)

    @property
    def training_labels(self) -> str:
        """Name of the csv of its training labels, below the folder of all data; "" for those of the videos."""
        return f"{self.name}.csv" if self.real or self.noise or self.gap > 1 else ""


CONDITIONS = {
    c.name: c
    for c in (
        Condition("toy", tests=1),
        Condition("toy_1s"),
        Condition("toy_2s", gap=2),
        Condition("toy_4s", gap=4),
        Condition("toy_x0.5", pace=0.5),
        Condition("toy_x2", pace=2.0),
        Condition("toy_noise", noise=True),
        Condition("ucf_1s", real=True),
        Condition("ucf_2s", gap=2, real=True),
        Condition("ucf_4s", gap=4, real=True),
    )
}


def entries(condition: Condition, root: Path, ucf: Path | None) -> dict[str, dict]:
    """Return ``DATASETS.CUSTOM`` entries of a condition: "train" and its splits."""
    if condition.real:
        common = {"VIDEOS": str(ucf / "videos"), "LABEL_MAP": str(ucf / "annotations" / "labelmap.pbtxt"),
                  "DENSE": str(ucf / "annotations" / "dense.csv")}  # fmt: skip
        return {
            "train": {"NAME": f"{condition.name}_train", **common,
                      "ANNOTATIONS": str(root / condition.training_labels)},
            "test": {"NAME": f"{condition.name}_test", **common, "ANNOTATIONS": str(root / "ucf_test.csv")},
        }  # fmt: skip
    suffix = "" if condition.pace == 1 else f"_x{condition.pace:g}"
    result = {}
    for split in ("train", *condition.splits):
        more = f"_times{condition.tests}" if split == "test" and condition.tests > 1 else ""
        folder = root / f"toy{suffix}_{split}{more}"
        annotations = folder / "annotations"
        labels = annotations / ("train.csv" if split == "train" else "val.csv")
        if condition.training_labels and split == "train":
            labels = root / condition.training_labels
        result[split] = {
            "NAME": f"{condition.name}_{split}", "VIDEOS": str(folder / "videos"), "ANNOTATIONS": str(labels),
            "LABEL_MAP": str(annotations / "label_map.pbtxt"), "DENSE": str(annotations / "dense.csv"),
            "FLIP_PAIRS": [list(pair) for pair in TOY_FLIP_PAIRS],
        }  # fmt: skip
    return result


def prepare(
    conditions: Sequence[Condition], root: Path, ucf: Path | None, videos: tuple[int, int], workers: int
) -> dict[str, LabelChanges | None]:
    """Render the data of the conditions, thin and degrade labels, and decode all videos.

    Args:
        root: folder of all data; existing files are kept.
        ucf: folder of ucf24_mini.
        videos: number of training videos, and of each other split.

    Returns:
        how fast training labels change, by condition.
    """
    root.mkdir(parents=True, exist_ok=True)
    short_sides: dict[str, tuple[int, ...]] = {}
    changes = {}
    for condition in conditions:
        found = entries(condition, root, ucf)
        target = Path(found["train"]["ANNOTATIONS"])
        if condition.real:
            thin_labels(ucf / "annotations" / "train.csv", target, condition.gap)
            pick_test_frames(ucf / "annotations" / "dense.csv", root / "ucf_test.csv")
            short_sides |= {str(path): (144, 128) for path in sorted((ucf / "videos").glob("*.mp4"))}
        for split, entry in found.items() if not condition.real else ():
            folder = Path(entry["VIDEOS"]).parent
            seed = {"train": TRAIN_SEED, "dev": DEV_SEED, "test": TEST_SEED}[split]
            count = videos[1] * (condition.tests if split == "test" else 1)
            counts = (videos[0], 0) if split == "train" else (0, count)
            make_toy(folder, seed, *counts, workers=workers, pace=condition.pace)
            short_sides |= {str(path): (128,) for path in sorted((folder / "videos").glob("*.mp4"))}
            labels = folder / "annotations" / "train.csv"
            if split == "train" and condition.noise:
                spoil_labels(labels, target)
            elif split == "train" and condition.gap > 1:
                thin_labels(labels, target, condition.gap)
        changes[condition.name] = label_changes(read_ground_truth(target))
    jobs = [(path, side) for path, sides in short_sides.items() for side in sides]
    decode_all(jobs, root / "decoded", workers)
    return changes


def pick_test_frames(source: Path, target: Path) -> None:
    """Keep the frames 0.2, 0.4, 0.6 and 0.8 s after each full second of a csv of every frame.

    None of them is labelled in training, and there are four times as many as in val.csv, in which one found box
    is a sixth of the mAP.
    """
    lines = source.read_text().splitlines()
    kept = [line for line in lines if round(float(line.split(",", 2)[1]) * 25) % 25 in (5, 10, 15, 20)]
    target.write_text("".join(f"{line}\n" for line in kept))


def thin_labels(source: Path, target: Path, gap: int) -> None:
    """Keep one key frame every ``gap`` s of each video of a csv, counted from its first one."""
    rows = [line.split(",", 2) for line in source.read_text().splitlines()]
    first: dict[str, int] = {}
    for video, second, _ in rows:
        first[video] = min(first.get(video, int(second)), int(second))
    kept = [",".join(row) for row in rows if (int(row[1]) - first[row[0]]) % gap == 0]
    target.write_text("".join(f"{line}\n" for line in kept))


def spoil_labels(source: Path, target: Path, seed: int = 0) -> None:
    """Add annotation errors: missing persons and actions, shifted boxes; see ``MISSED``."""
    rng = np.random.default_rng(seed)
    people: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for line in source.read_text().splitlines():
        video, second, x1, y1, x2, y2, action, person = line.split(",")
        people[video, second, x1, y1, x2, y2, person].append(action)
    lines = []
    for (video, second, *corners, person), actions in people.items():
        box = np.array(corners, dtype=float)
        sides = np.tile(box[2:] - box[:2], 2)
        box = np.clip(box + rng.normal(0, SHIFT, 4) * sides, 0, 1)
        kept = [action for action in actions if rng.random() >= FORGOTTEN]
        if rng.random() < MISSED or (box[2:] - box[:2] <= 0.005).any():
            continue
        text = ",".join(f"{value:.4f}" for value in box)
        lines += [f"{video},{second},{text},{action},{person}" for action in kept]
    target.write_text("".join(f"{line}\n" for line in lines))
