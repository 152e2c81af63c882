"""Data of the graft experiment: labelled key frames, other unlabelled frames, and a simulated detector's boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mestad_d2.data.catalog import register_ava_dataset
from mestad_d2.data.toy.actions import TOY_FLIP_PAIRS
from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.formats.files import write_text
from mestad_d2.reproduce.person_boxes import simulate_person_boxes
from mestad_d2.video.decoded import decode_all

# Seeds of rendered videos: labelled ones with their test videos, and those without labels.
LABELLED_SEED, UNLABELLED_SEED = 0, 303
# Frames of a second of ucf24_mini (25 a second) that are taken without labels: labels are of frame 0, tests of frame 12.
UCF_FRAMES = (5, 7, 17, 20)
# On the toy, every so many frames of a video without labels.
TOY_STEP = 7


@dataclass(frozen=True)
class GraftData:
    """Files of one dataset: ``config`` below configs/, ``train`` and ``test`` are ``DATASETS.CUSTOM`` entries,
    ``videos`` those of the unlabelled frames, and the simulated boxes of ``unlabelled`` and ``test_boxes``."""

    config: str
    train: dict
    test: dict
    videos: Path
    unlabelled: Path
    test_boxes: Path


def toy(work: Path, videos: tuple[int, int, int], workers: int, seconds: float | None = None) -> GraftData:
    """Render the toy, and simulate boxes on further videos of it.

    Args:
        work: folder of all files; existing ones are kept.
        videos: number of labelled, test and unlabelled videos.
        workers: processes that render.
        seconds: length of each video; by default drawn from 20 to 24.
    """
    make_toy(work / "toy", LABELLED_SEED, videos[0], videos[1], seconds, workers)
    make_toy(work / "toy_more", UNLABELLED_SEED, 0, videos[2], seconds, workers)
    folder, more = work / "toy" / "annotations", work / "toy_more"
    common = {"VIDEOS": str(work / "toy" / "videos"), "LABEL_MAP": str(folder / "label_map.pbtxt"),
              "FLIP_PAIRS": [list(pair) for pair in TOY_FLIP_PAIRS]}  # fmt: skip
    thinned = _thin(
        more / "annotations" / "dense.csv", work / "toy_unlabelled.csv", lambda i, _: i % TOY_STEP == 3
    )
    return GraftData(
        "toy/SlowOnly_tiny.yaml",
        {"NAME": "graft_toy_train", "ANNOTATIONS": str(folder / "train.csv"), **common},
        {"NAME": "graft_toy_test", "ANNOTATIONS": str(folder / "val.csv"), **common},
        more / "videos",
        _simulated(thinned, more / "videos", folder / "label_map.pbtxt", work / "toy_boxes.csv", 1),
        _simulated(
            folder / "val.csv", more / "videos", folder / "label_map.pbtxt", work / "toy_test_boxes.csv", 2
        ),
    )


def ucf24(work: Path, ucf: Path) -> GraftData:
    """Take other frames of ucf24_mini than those with labels, and simulate boxes on them."""
    folder, videos = ucf / "annotations", ucf / "videos"
    work.mkdir(parents=True, exist_ok=True)
    labels = folder / "labelmap.pbtxt"
    common = {"VIDEOS": str(videos), "LABEL_MAP": str(labels)}
    thinned = _thin(
        folder / "dense.csv",
        work / "ucf24_unlabelled.csv",
        lambda _, time: round(time * 25) % 25 in UCF_FRAMES,
    )
    return GraftData(
        "ucf24/SlowOnly_tiny.yaml",
        {"NAME": "graft_ucf24_train", "ANNOTATIONS": str(folder / "train.csv"), **common},
        {"NAME": "graft_ucf24_test", "ANNOTATIONS": str(folder / "val.csv"), **common},
        videos,
        _simulated(thinned, videos, labels, work / "ucf24_boxes.csv", 1),
        _simulated(folder / "val.csv", videos, labels, work / "ucf24_test_boxes.csv", 2),
    )


def decode(videos: Iterable[Path], folder: Path, short_sides: Sequence[int], workers: int) -> None:
    """Decode videos whole at the sides that training and testing need, for ``INPUT.CLIP.DECODED_DIR``."""
    decode_all([(str(path), side) for path in sorted(videos) for side in short_sides], folder, workers)


def _thin(dense: Path, target: Path, taken: Callable[[int, float], bool]) -> Path:
    """Keep the frames of a csv for which ``taken(place in its video, time)``."""
    rows: dict[str, dict[float, list[str]]] = defaultdict(lambda: defaultdict(list))
    for line in dense.read_text().splitlines():
        video, time = line.split(",", 2)[:2]
        rows[video][float(time)].append(line)
    kept = [
        line
        for times in rows.values()
        for place, time in enumerate(sorted(times)) if taken(place, time)
        for line in times[time]
    ]  # fmt: skip
    write_text(target, "".join(f"{line}\n" for line in kept))
    return target


def _simulated(labels: Path, videos: Path, label_map: Path, target: Path, seed: int) -> Path:
    name = f"graft_{target.stem}"
    register_ava_dataset(name, video_root=videos, annotations=labels, label_map=label_map)
    simulate_person_boxes(name, target, seed)
    return target
