"""UCF101-24, JHMDB and MultiSports: their own files to dataset dicts, checks and evaluation."""

from __future__ import annotations

import importlib
import pickle
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances
from numbered_video import write_numbered_video
from scipy.io import savemat
from tiny import ROOT

from mestad_d2.data.tube_datasets.load import label_map_path
from mestad_d2.data.tube_datasets.register import register_tube_datasets
from mestad_d2.errors import UserError
from mestad_d2.formats.label_map import read_label_map
from mestad_d2.formats.tubes.ground_truth import read_truth
from mestad_d2.inference.tubes.evaluator import TubeEvaluator
from mestad_d2.load_config import setup_cfg

# x + w = 299 and y + h = 231 overflow uint8 only where they are added as such.
BOXES = np.array([[200, 120, 99, 111], [201, 120, 99, 110], [202, 121, 98, 110]], dtype=np.uint8)
NAMES = ("Basketball/v_Basketball_g01_c01", "Diving/v_Diving_g01_c01", "WalkingWithDog/v_Walk_g09_c01")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A UCF101-24 of three videos of 12 frames, both annotation files, and a JHMDB with the same tubes."""
    ucf = tmp_path / "ucf101_24"
    for name in NAMES:
        path = ucf / "videos" / f"{name}.mp4"
        path.parent.mkdir(parents=True)
        write_numbered_video(path, 12, Fraction(25))
    (ucf / "testlist01.txt").write_text(f"{NAMES[1]}.avi\n{NAMES[2]}\n")
    tube = [("ef", "i4"), ("sf", "i4"), ("class", "i4"), ("boxes", "O")]
    rows = []
    for label, name in enumerate(NAMES, 1):
        tubes = np.zeros((1, 2), dtype=tube)
        tubes[0, 0], tubes[0, 1] = (5, 3, label, BOXES), (9, 7, label, BOXES[::-1])
        rows.append((name, 12, tubes))
    annot = np.zeros((1, 3), dtype=[("name", "O"), ("num_imgs", "O"), ("tubes", "O")])
    for i, row in enumerate(rows):
        annot[0, i] = row
    savemat(ucf / "finalAnnots.mat", {"annot": annot})
    python = {
        np.array([name])[0]: {
            "numf": 12,
            "label": i,
            "annotations": [
                {"label": i, "sf": np.uint8(2), "ef": np.uint8(5), "boxes": BOXES},
                {"label": i, "sf": np.uint8(6), "ef": np.uint8(9), "boxes": BOXES[::-1].copy()},
            ],
        }
        for i, name in enumerate(NAMES)
    }
    (ucf / "pyannot.pkl").write_bytes(pickle.dumps(python))
    jhmdb = tmp_path / "jhmdb"
    jhmdb.mkdir()
    (jhmdb / "videos").symlink_to(ucf / "videos")
    labels = list(read_label_map(label_map_path("jhmdb"))[0].values())
    corners = BOXES.astype(np.float32)
    corners[:, 2:] += corners[:, :2]
    content = {
        "labels": labels,
        "train_videos": [[NAMES[0]], [NAMES[1]], []],
        "test_videos": [[NAMES[1]], [NAMES[2]], []],
        "nframes": dict.fromkeys(NAMES, 12),
        "resolution": dict.fromkeys(NAMES, (240, 320)),
        "gttubes": {n: {2: [np.column_stack([[3, 4, 5], corners]).astype(np.float32)]} for n in NAMES},
    }
    (jhmdb / "JHMDB-GT.pkl").write_bytes(pickle.dumps(content, 2))
    register_tube_datasets(tmp_path, test_step=2)
    return tmp_path


def test_both_annotation_files_and_no_overflow(root: Path) -> None:
    ucf = root / "ucf101_24"
    records = [
        read_truth(ucf / name, test_list=ucf / "testlist01.txt")
        for name in ("finalAnnots.mat", "pyannot.pkl")
    ]
    for dataset, tubes in records:
        assert dataset.names == NAMES[1:] and dataset.classes == ("Basketball", "Diving", "WalkingWithDog")
        np.testing.assert_array_equal(tubes.label, [1, 1, 2, 2])
        np.testing.assert_array_equal(tubes.frame[:6], [3, 4, 5, 7, 8, 9])
        np.testing.assert_array_equal(tubes.boxes[0], [200, 120, 299, 231])


def test_dataset_dicts(root: Path) -> None:
    dicts = DatasetCatalog.get("ucf101_24_test")
    assert [d["timestamp"] * 25 for d in dicts[:6]] == pytest.approx([0, 2, 4, 6, 8, 10])
    assert len(dicts) == 12 and {d["video_id"] for d in dicts} == set(NAMES[1:])
    # Frames without people are key frames; frame 3 is the third.
    assert [len(d["annotations"]) for d in dicts[:6]] == [0, 1, 1, 1, 1, 0]
    first, info = dicts[1]["annotations"][0], dicts[1]
    assert first["action_ids"] == [2] and first["person_id"] == 0
    scale = [info["width"] / 320, info["height"] / 240] * 2
    np.testing.assert_allclose(first["bbox"], np.array([200, 120, 299, 231]) * scale)
    assert len(DatasetCatalog.get("jhmdb_train_2")) == 12
    assert DatasetCatalog.get("jhmdb_test_1")[0]["video_id"] == NAMES[1]
    with pytest.raises(UserError, match="no such file|can't be read"):
        DatasetCatalog.get("multisports_train")


@pytest.mark.parametrize(("name", "count", "some"), [
    ("ucf101_24", 24, {1: "Basketball", 24: "WalkingWithDog"}),
    ("jhmdb", 21, {1: "brush_hair", 21: "wave"}),
    ("multisports", 66, {16: "aerobic kick jump", 65: "basketball save"}),
])  # fmt: skip
def test_label_maps(name: str, count: int, some: dict[int, str]) -> None:
    names = read_label_map(label_map_path(name))[0]
    assert list(names) == list(range(1, count + 1)) and names.items() >= some.items()


def test_check(root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    check = importlib.import_module("check_dataset")
    assert check.main(["jhmdb_test_1"]) == 0
    assert "1 videos, 12 key frames, 3 rows" in capsys.readouterr().out
    # Its class names are not those of UCF101-24's 24 classes.
    assert check.main(["ucf101_24_train"]) == 1
    (root / "ucf101_24" / "videos" / f"{NAMES[1]}.mp4").unlink()
    content = pickle.loads((root / "jhmdb" / "JHMDB-GT.pkl").read_bytes())
    content["nframes"][NAMES[1]] = 4
    (root / "jhmdb" / "JHMDB-GT.pkl").write_bytes(pickle.dumps(content))
    capsys.readouterr()
    assert check.main(["jhmdb_test_1"]) == 1
    out = capsys.readouterr().out
    assert "missing_video" in out and "a tube has frame 5, the video 4 frames" in out


def outputs(name: str, shift: float) -> tuple[list[dict], list[dict]]:
    given, found = [], []
    for d in DatasetCatalog.get(name):
        instances = Instances((d["height"], d["width"]))
        boxes = torch.tensor([a["bbox"] for a in d["annotations"]]).reshape(-1, 4) + shift
        instances.pred_boxes = Boxes(boxes)
        instances.scores = torch.ones(len(boxes))
        instances.pred_actions = torch.zeros(len(boxes), 21)
        for row, annotation in enumerate(d["annotations"]):
            instances.pred_actions[row, annotation["action_ids"][0] - 1] = 0.9
        given.append(d)
        found.append({"instances": instances})
    return given, found


def test_evaluator(root: Path, tmp_path: Path) -> None:
    cfg = setup_cfg(
        ROOT / "configs" / "jhmdb" / "SlowOnly_R50_4x16.yaml", ["TEST.TUBES.PROTOCOLS", ["act", "ours"]]
    )
    register_tube_datasets(root)
    evaluator = TubeEvaluator("jhmdb_test_1", cfg, str(tmp_path / "out"))
    evaluator.reset()
    given, found = outputs("jhmdb_test_1", 0.0)
    # Three frames are below the least length of a tube, but a whole track.
    evaluator.process(given, found)
    results = evaluator.evaluate()
    assert results["frame_map_all"]["mAP"] == pytest.approx(100 / 21)
    assert results["frame_map_all"]["mAP_ours"] == pytest.approx(100)
    assert results["video_map"]["mAP@0.5_ours"] == pytest.approx(100)
    assert (
        results["video_map"]["mAP@0.5"] == pytest.approx(100 / 21) and results["video_map"]["AP/clap"] == 100
    )
    assert (tmp_path / "out" / "tubes.csv").exists() and (tmp_path / "out" / "tube_metrics.json").exists()
    evaluator.reset()
    evaluator.process(*outputs("jhmdb_test_1", 500.0))
    assert evaluator.evaluate()["video_map"]["mAP@0.2_ours"] == 0


def test_no_tubes_is_one_line() -> None:
    MetadataCatalog.get("no_tubes_here").set(thing_classes=["person"])
    cfg = setup_cfg(ROOT / "configs" / "jhmdb" / "SlowOnly_R50_4x16.yaml")
    with pytest.raises(UserError, match="neither tubes nor a csv of every frame"):
        TubeEvaluator("no_tubes_here", cfg)
