"""The dataset linter on both splits at once, on person boxes and on tubes, as its users call it."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from loading import load_script
from numbered_video import write_numbered_video
from tiny import ROOT

BOX = "0.1,0.1,0.5,0.5"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("tools/check_dataset.py")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("videos")
    for name in "abc":
        write_numbered_video(root / f"{name}.mp4", 75, Fraction(25))
    return root


@pytest.fixture
def config(tmp_path: Path, videos: Path):
    """A config of a training and a validation set."""
    (tmp_path / "map.txt").write_text("1: sit\n2: stand\n")
    (tmp_path / "train.csv").write_text(f"a,1,{BOX},1,0\nb,2,{BOX},2,0\n")
    (tmp_path / "val.csv").write_text(f"c,1,{BOX},1,0\nc,2,{BOX},2,0\n")
    entries = [
        {"NAME": f"pair_{part}", "VIDEOS": str(videos), "ANNOTATIONS": str(tmp_path / f"{part}.csv"),
         "LABEL_MAP": str(tmp_path / "map.txt")}
        for part in ("train", "val")
    ]  # fmt: skip
    content = {
        "_BASE_": str(ROOT / "configs" / "Base-tiny.yaml"),
        "MODEL": {"ROI_ACTION_HEAD": {"NUM_CLASSES": 2}},
        "DATASETS": {"CUSTOM": entries, "TRAIN": ["pair_train"], "TEST": ["pair_val"]},
    }
    (tmp_path / "c.yaml").write_text(json.dumps(content))
    yield tmp_path / "c.yaml"
    for name in ("pair_train", "pair_val"):
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def test_both_splits_of_a_config(tool: ModuleType, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tool.main(["--config-file", str(config)]) == 0
    text = capsys.readouterr().out
    assert text.count("no faults") == 3 and text.index("== pair_train") < text.index("== pair_val")
    folder = config.parent
    (folder / "train.csv").write_text(f"a,1,{BOX},1,0\nb,2,{BOX},1,0\n")
    (folder / "val.csv").write_text(f"c,1.5,{BOX},1,0\nb,1,{BOX},2,0\n")
    assert tool.main(["--config-file", str(config)]) == 1
    text = capsys.readouterr().out
    assert "video_in_both: 1" in text and "b is in pair_train too" in text
    assert "class_only_in_test: 1" in text and "action 2 (stand): 1 row, none to learn from" in text
    assert text.count("left out in training") == 1 and "protocols slowfast" in text
    # One of them alone is sound.
    assert tool.main(["--config-file", str(config), "pair_val"]) == 0


def test_what_the_published_evaluators_refuse_is_told(
    tool: ModuleType, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (config.parent / "val.csv").write_text(f"c,1,{BOX},1,0,\nc,2,{BOX},2,0\n")
    assert tool.main(["--config-file", str(config), "pair_val"]) == 0
    text = capsys.readouterr().out
    assert "published evaluators (activitynet) refuse the file" in text and "no faults" in text
    assert text.count("refuse the file") == 2 and "it accepts 7 or 8 columns" in text
    # One line for all that refuse it for one reason; a number is no column name.
    (config.parent / "val.csv").write_text(f"c,1.0,{BOX},1,0\n")
    assert tool.main(["--config-file", str(config), "pair_val"]) == 0
    text = capsys.readouterr().out
    assert text.count("refuse the file") == 1 and "row 1: timestamp is '1.0'; it needs whole seconds" in text
    assert "header" not in text


def test_person_boxes(tool: ModuleType, config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = config.parent / "boxes.csv"
    flags = ["--config-file", str(config), "pair_val", "--person-boxes", str(boxes)]
    boxes.write_text(f"c,1,{BOX},,0.9\nc,2,{BOX},,0.8\n")
    assert tool.main(flags) == 0
    assert "note" not in capsys.readouterr().out
    boxes.write_text(f"c,1,{BOX},,0.9\n")
    assert tool.main(flags) == 0
    assert "1 of 2 key frames have no person box" in capsys.readouterr().out
    for text, said in (
        (f"c,901,{BOX},,0.9\n", "no box of any of the 2 key frames"),
        (f"c,1,{BOX},1,7\n", "score 7"),
    ):
        boxes.write_text(text)
        assert tool.main(flags) == 1
        out = capsys.readouterr().out
        assert "person_boxes: 1" in out and said in out
    with pytest.raises(SystemExit, match="2"):
        tool.main(["--config-file", str(config), "--person-boxes", str(boxes)])


def tube_file(**changes: object) -> dict:
    """A pickle of tubes with two training videos and a test video."""

    def tube(first: int, last: int) -> np.ndarray:
        frames = np.arange(first, last + 1)[:, None]
        return np.hstack([frames, np.tile([10.0, 20.0, 60.0, 90.0], (len(frames), 1))])

    names = ("run/a", "sit/b", "run/c")
    content = {
        "labels": ["run", "sit"],
        "train_videos": [["run/a", "sit/b"]],
        "test_videos": [["run/c"]],
        "nframes": dict.fromkeys(names, 30),
        "resolution": dict.fromkeys(names, (100, 160)),
        "gttubes": {"run/a": {0: [tube(1, 30)]}, "sit/b": {1: [tube(2, 9)]}, "run/c": {0: [tube(5, 30)]}},
    }
    return {**content, **changes}


def changed(rows: np.ndarray) -> dict:
    return {**tube_file()["gttubes"], "run/c": {0: [rows]}}


ROW = np.array([[5.0, 10, 20, 60, 90], [6, 10, 20, 60, 90]])
TUBE_FAULTS = [
    ("video_in_both", {"test_videos": [["run/a"]]}),
    ("class_only_in_test", {"train_videos": [["run/a"]], "test_videos": [["sit/b"]]}),
    ("tubes", {"gttubes": changed(ROW + [[30, 0, 0, 0, 0]])}),
    ("tubes", {"gttubes": changed(ROW - [[5, 0, 0, 0, 0]])}),
    ("tubes", {"gttubes": changed(ROW * [1, np.nan, 1, 1, 1])}),
    ("tubes", {"gttubes": changed(ROW / [1, 200, 200, 200, 200])}),
    ("tubes", {"gttubes": changed(ROW[:, [0, 3, 4, 1, 2]])}),
    ("tubes", {"gttubes": changed(ROW[[0, 0]])}),
    ("tubes", {"gttubes": {**tube_file()["gttubes"], "run/c": {5: [ROW]}}}),
    ("tubes", {"resolution": dict.fromkeys(("run/a", "sit/b", "run/c"), (40, 160))}),
    ("label_map", {"labels": ["run", "run"]}),
]


@pytest.mark.parametrize(("kind", "changes"), TUBE_FAULTS)
def test_faults_of_tubes(
    tool: ModuleType, tmp_path: Path, kind: str, changes: dict, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.pkl").write_bytes(pickle.dumps(tube_file(**changes)))
    assert tool.main(["--tubes", str(tmp_path / "t.pkl")]) == 1
    assert f"\n{kind}: " in capsys.readouterr().out


def test_sound_tubes(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.pkl").write_bytes(pickle.dumps(tube_file()))
    assert tool.main(["--tubes", str(tmp_path / "t.pkl")]) == 0
    text = capsys.readouterr().out
    assert "3 videos, 64 boxes, 3 tubes" in text and "no faults" in text
    for flags in (["--split", "2"], []):
        (tmp_path / "t.pkl").write_bytes(pickle.dumps(tube_file() if flags else {"a": 1}))
        with pytest.raises(SystemExit, match="2"):
            tool.main(["--tubes", str(tmp_path / "t.pkl"), *flags])
        assert capsys.readouterr().err.count("\n") == 1
