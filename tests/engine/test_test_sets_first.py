"""A training never starts on files that it can't evaluate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from detectron2.data import DatasetCatalog, MetadataCatalog
from numbered_video import write_numbered_video
from tiny import tiny_cfg

from mestad_d2.data.catalog import register_ava_dataset
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.errors import UserError

ROW = "a,1,0.1,0.1,0.5,0.5,1,0\n"


@pytest.fixture
def folder(tmp_path: Path):
    (tmp_path / "videos").mkdir()
    write_numbered_video(tmp_path / "videos" / "a.mp4", 75, Fraction(25))
    (tmp_path / "map.txt").write_text("1: sit\n2: stand\n")
    for part in ("train", "val"):
        (tmp_path / f"{part}.csv").write_text(ROW)
        register_ava_dataset(
            f"first_{part}",
            video_root=tmp_path / "videos",
            annotations=tmp_path / f"{part}.csv",
            label_map=tmp_path / "map.txt",
            exclude=tmp_path / "exclude.csv" if part == "val" else None,
        )
    (tmp_path / "exclude.csv").write_text("")
    yield tmp_path
    for part in ("train", "val"):
        DatasetCatalog.remove(f"first_{part}")
        MetadataCatalog.remove(f"first_{part}")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "val.csv",
            "video,timestamp,x1,y1,x2,y2,action_id,person_id\n" + ROW,
            "val.csv: row 1: column names",
        ),
        ("val.csv", "b,1,0.1,0.1,0.5,0.5,1,0\n", "1 of 1 videos are missing (b)"),
        ("val.csv", "a,25,0.1,0.1,0.5,0.5,1,0\n", "frame numbers?"),
        ("val.csv", "a,1,0.1,0.1,0.5,0.5,9,0\n", "action id 9 has no column"),
        ("map.txt", "0: sit\n1: stand\n", "map.txt: line 1: id 0"),
        ("exclude.csv", "a;1\n", "exclude.csv: row 1"),
        ("boxes.csv", "a,1,0.1,0.1,0.5,0.5,,7\n", "boxes.csv: row 1: score 7"),
    ],
)
def test_mistakes_cost_seconds(folder: Path, name: str, text: str, said: str) -> None:
    cfg = tiny_cfg()
    cfg.defrost()
    cfg.OUTPUT_DIR = str(folder / "out")
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("first_train",), ("first_val",)
    cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES = 3
    if name == "boxes.csv":
        cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES = "external"
        cfg.DATASETS.PERSON_BOXES_TEST = (str(folder / name),)
    (folder / name).write_text(text)
    with pytest.raises(UserError) as error:
        MESTADTrainer(cfg)
    assert said in str(error.value) and "\n" not in str(error.value)
    # No model was built and nothing was trained.
    assert not list((folder / "out").glob("*.pth"))
