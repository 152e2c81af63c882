"""What the dataset check passes is trained on and evaluated: whole datasets with everything that people's csv files have.

10,000 of them in the slow set.
"""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from numbered_video import write_numbered_video

from mestad_d2.data.catalog import register_ava_dataset
from mestad_d2.data.check.dataset import check_dataset
from mestad_d2.data.mapper import ClipMapper
from mestad_d2.errors import UserError
from mestad_d2.evaluation.evaluator import AVAEvaluator
from mestad_d2.video.transforms import GeometrySampler

CLASSES = 6
NAME = "csv_fuzz"
NUMBERS = [
    "nan",
    "inf",
    "-0.2",
    "1e400",
    "1e30",
    "",
    "x",
    "0",
    "1.0",
    "12",
    "-1",
    "0.5 ",
    "5e-1",
    "1_0",
    "٣",
    "0,5",
]
MAPS = [
    "1: sit\n2: stand\n4: run\n", '{"sit": 1, "stand": 2, "run": 4}', "0: background\n1: sit\n2: stand\n4: run\n",
    "item {\n  id: 1\n  name: 'sit'\n}\nitem {\n  id: 2\n  name: 'stand'\n}\nitem {\n  id: 4\n  name: 'sit'\n}\n",
    "label_id,label_name,label_type\n1,sit,PERSON_MOVEMENT\n2,stand,PERSON_MOVEMENT\n4,run,PERSON_MOVEMENT\n",
    "sit\nstand\nwalk\nrun\n", "0: sit\n1: stand\n", "", "1: sit\n1: stand\n",
]  # fmt: skip


def sound_row(rng: random.Random) -> list[str]:
    """A row as the documents describe it, in one of the ways of writing its numbers."""
    time = rng.choice(["1", "0001", "1.000", "2.48", "3", "0.000", "2e0", "3.04"])
    x, y = rng.choice([0.1, 0.1, 0.3, 0.55]), rng.choice([0.1, 0.1, 0.25])
    box = [f"{value:{rng.choice(['.4f', '.3g', '.6f'])}}" for value in (x, y, x + 0.35, y + 0.5)]
    row = [rng.choice("ab"), time, *box, rng.choice(["1", "2", "4", "1.0"])]
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice([row[:2], [*row[:2], "", "", "", "", ""], [*row[:2], *[""] * 6]])
    person = rng.choice(["0", "0", "1", "2.0", "-1", ""])
    return row if kind == 1 else [*row, person, rng.choice(["", "0.9"])] if kind == 2 else [*row, person]


def damaged(row: list[str], rng: random.Random) -> list[str]:
    """The row with one thing of other people's files in it."""
    row = list(row) or [""]
    kind = rng.randrange(9)
    at = rng.randrange(len(row))
    if kind < 3:
        row[at] = rng.choice(NUMBERS)
    elif kind == 3:
        row.append("")
    elif kind == 4:
        row[at] = f" {row[at]} "
    elif kind == 5:
        row[at] = f'"{row[at]}"'
    elif kind == 6:
        row = row[: rng.randrange(1, len(row) + 1)]
    elif kind == 7 and len(row) > 6:
        row[2:6] = ["10", "20", "60", "90"] if rng.random() < 0.5 else row[4:6] + row[2:4]
    else:
        row[min(1, len(row) - 1)] = rng.choice(["25", "1e9", "-1", "00:01", "0.1667"])
    return row


def some_csv(rng: random.Random) -> bytes:
    """An annotation file: half of them are sound, though none is plain."""
    rows = [sound_row(rng) for _ in range(rng.randint(1, 7))]
    if rng.random() < 0.3:
        rows += [list(rng.choice(rows)) for _ in range(rng.randint(1, 2))]
        rows[-1][-1] = rng.choice(["0", "1", "2"])
    if rng.random() < 0.4:
        for _ in range(rng.choice([1, 1, 2])):
            at = rng.randrange(len(rows))
            rows[at] = damaged(rows[at], rng)
    lines = [",".join(row) for row in rows]
    for _ in range(rng.choice([0, 0, 0, 0, 1])):
        lines.insert(
            rng.randrange(len(lines) + 1), rng.choice(["", " ", ",,,,,,,", "video,time,x1,y1,x2,y2,a,p"])
        )
    end = rng.choice(["\n", "\n", "\r\n"])
    text = rng.choice(["", "", "\ufeff"]) + end.join(lines) + rng.choice(["", end, end + end])
    if rng.random() < 0.05:
        text = text.replace(",", rng.choice([";", "\t"]))
    return text.encode(rng.choice(["utf-8"] * 12 + ["utf-16", "latin-1"]), "replace")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of four seconds."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "videos").mkdir()
    for name in "ab":
        write_numbered_video(folder / "videos" / f"{name}.mp4", 40, Fraction(10))
    return folder


def train_and_evaluate(root: Path, mapper: ClipMapper) -> float:
    """What a training asks of a dataset, without its frames; frame-mAP of perfect detections."""
    register_ava_dataset(
        NAME,
        video_root=root / "videos",
        annotations=root / "gt.csv",
        label_map=root / "map",
        exclude=root / "exclude.csv",
        start=0.0,
    )
    dicts = DatasetCatalog.get(NAME)
    assert any(item["annotations"] for item in dicts) and not all(item["excluded"] for item in dicts)
    evaluator = AVAEvaluator(NAME)
    for item in dicts:
        geometry = mapper.geometry.draw((item["height"], item["width"]), np.random.default_rng(0))
        instances = mapper.instances(item["annotations"], geometry, item)
        assert len(instances) == len(item["annotations"])
        assert torch.isfinite(instances.gt_boxes.tensor).all() and bool(
            (instances.gt_actions.sum(1) > 0).all()
        )
        found = Instances((item["height"], item["width"]))
        found.pred_boxes = Boxes(torch.tensor([a["bbox"] for a in item["annotations"]]).reshape(-1, 4))
        found.scores = torch.ones(len(instances))
        found.pred_actions = instances.gt_actions
        evaluator.process([item], [{"instances": found}])
    results = evaluator.evaluate()
    assert np.isfinite(results["person"]["AP50"]) and results["person"]["AP50"] > 50
    return results["frame_map"]["mAP"]


def fuzz(root: Path, seed: int, count: int) -> tuple[int, int]:
    """(passed, refused) of generated datasets; an error of any other kind ends it."""
    rng = random.Random(seed)
    mapper = ClipMapper(None, GeometrySampler((64,), "choice", 1000), CLASSES)
    passed = refused = 0
    for number in range(count):
        (root / "gt.csv").write_bytes(some_csv(rng))
        (root / "map").write_text(rng.choice(MAPS[:6] * 6 + MAPS))
        (root / "exclude.csv").write_text(
            rng.choice(["", "", "", "", "a,3\n", "b,2.480\n\n", "a,1,,\n", "x\n"])
        )
        try:
            report = check_dataset(
                video_root=root / "videos", annotations=root / "gt.csv", label_map=root / "map",
                exclude=root / "exclude.csv", num_classes=CLASSES,
            )  # fmt: skip
            faults = report.faults
            assert all("\n" not in fault.text for fault in faults)
        except UserError as error:
            faults = [error]
            assert "\n" not in str(error) and str(root) in str(error)
        if faults:
            refused += 1
            continue
        passed += 1
        text = (root / "gt.csv").read_text("utf-8-sig")
        figure = train_and_evaluate(root, mapper)
        assert 0 < figure <= 100, (seed, number, text)
    return passed, refused


@pytest.fixture(autouse=True)
def forget_dataset():
    yield
    if NAME in DatasetCatalog.list():
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


def test_what_the_check_passes_is_trained_on_and_evaluated(root: Path) -> None:
    passed, refused = fuzz(root, 0, 150)
    assert min(passed, refused) >= 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_ten_thousand_files(root: Path, seed: int) -> None:
    passed, refused = fuzz(root, seed, 1000)
    assert min(passed, refused) >= 200
