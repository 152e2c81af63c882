"""Every published entry by one command: a film in; an annotated mp4, csv and json out, by the demo and detect_many."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest
import torch
import torchvision
from loading import load_script
from numbered_video import write_numbered_video

from mestad_d2 import model_zoo
from mestad_d2.formats.ava_actions import AVA_ACTIONS
from mestad_d2.modeling.build import build_detector

ENTRIES = [
    name.removeprefix("published/").removesuffix(".yaml")
    for name in model_zoo.list()
    if name.startswith("published/")
]
# Narrow networks, small pictures, and a detector with random weights of which the three best boxes are taken.
OPTS = [
    *("MODEL.DEVICE", "cpu", "MODEL.VIDEO_RESNET.WIDTH", "8", "MODEL.VIDEO_BACKBONE.WIDTH", "48"),
    *("MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", "[1, 1, 1, 1]", "INPUT.MIN_SIZE_TEST", "64"),
    *("MODEL.PERSON_DETECTOR.SCORE_THRESH", "0.0", "MODEL.PERSON_DETECTOR.MAX_PEOPLE", "3"),
]
PERSONS = "fasterrcnn_mobilenet_v3_large_320_fpn"


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of torchvision's detector, random but for a liking for people: else nobody would be found."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(PERSONS, weights=None, weights_backbone=None)
    model.roi_heads.box_predictor.cls_score.bias.data[1] += 10
    path = tmp_path_factory.mktemp("detector") / "detector.pth"
    torch.save(model.state_dict(), path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_one_command_gives_all_files(
    entry: str, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No file of AVA is on the disk: names of actions come with the package.
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "none"))
    cfg = model_zoo.get_config(f"published/{entry}")
    cfg.merge_from_list(OPTS[: OPTS.index("MODEL.PERSON_DETECTOR.SCORE_THRESH")])
    torch.manual_seed(0)
    torch.save({"model": build_detector(cfg).state_dict()}, tmp_path / "weights.pth")
    write_numbered_video(tmp_path / "film.mp4", 40, Fraction(25))
    demo = load_script("tools/demo.py")
    line = ["--published", entry, "--weights", str(tmp_path / "weights.pth"), "--persons", f"torchvision:{PERSONS}",
            "--persons-weights", str(detector), "--input", str(tmp_path / "film.mp4"),
            "--output", str(tmp_path / "out"), "--person-threshold", "0", "--score-threshold", "0",
            "--opts", *OPTS]  # fmt: skip
    assert demo.main(demo.parse(line)) == 0
    for ending in (".mp4", ".csv", ".json", ".png", ".persons.csv"):
        assert (tmp_path / "out" / f"film{ending}").stat().st_size > 0
    text = (tmp_path / "out" / "film.json").read_text()
    if cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES == 80:
        assert sum(name in text for name in AVA_ACTIONS.values()) > 40
    assert json.loads(text)
