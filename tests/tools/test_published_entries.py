"""Every published entry by one command, with the demo, detect_many and the app: a film in, files of its actions out."""

from __future__ import annotations

import json
from collections.abc import Callable
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


@pytest.fixture
def line(detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Options of an entry that all tools take, with a file of its narrow network; beside it a film."""
    # No file of AVA is on the disk: names of actions come with the package.
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path / "none"))
    write_numbered_video(tmp_path / "film.mp4", 40, Fraction(25))

    def options(entry: str) -> list[str]:
        cfg = model_zoo.get_config(f"published/{entry}")
        cfg.merge_from_list(OPTS[: OPTS.index("MODEL.PERSON_DETECTOR.SCORE_THRESH")])
        torch.manual_seed(0)
        torch.save({"model": build_detector(cfg).state_dict()}, tmp_path / "weights.pth")
        return ["--published", entry, "--weights", str(tmp_path / "weights.pth"),
                "--persons", f"torchvision:{PERSONS}", "--persons-weights", str(detector)]  # fmt: skip

    return options


def assert_names(entry: str, text: str) -> None:
    """The text has the actions' names of AVA, where the entry knows AVA's actions."""
    if model_zoo.get_config(f"published/{entry}").MODEL.ROI_ACTION_HEAD.NUM_CLASSES == 80:
        assert sum(name in text for name in AVA_ACTIONS.values()) > 40


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_one_command_gives_all_files(entry: str, line: Callable[[str], list[str]], tmp_path: Path) -> None:
    demo = load_script("tools/demo.py")
    command = [*line(entry), "--input", str(tmp_path / "film.mp4"), "--output", str(tmp_path / "out"),
               "--person-threshold", "0", "--score-threshold", "0", "--opts", *OPTS]  # fmt: skip
    assert demo.main(demo.parse(command)) == 0
    for ending in (".mp4", ".csv", ".json", ".png", ".persons.csv"):
        assert (tmp_path / "out" / f"film{ending}").stat().st_size > 0
    text = (tmp_path / "out" / "film.json").read_text()
    assert_names(entry, text)
    assert json.loads(text)


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_list_of_videos_is_detected(entry: str, line: Callable[[str], list[str]], tmp_path: Path) -> None:
    many = load_script("tools/detect_many.py")
    command = [*line(entry), "--input", str(tmp_path / "film.mp4"), "--output", str(tmp_path / "out"),
               "--person-threshold", "0", "--score-threshold", "0", "--workers", "1", "--cpus-per-worker", "1",
               "--opts", *OPTS]  # fmt: skip
    assert many.main(many.parse(command)) == 0
    (result,) = (tmp_path / "out").glob("film*.jsonl")
    frames = [json.loads(row) for row in result.read_text().splitlines()]
    assert sum(len(frame.get("people", [])) for frame in frames) > 0
    assert_names(entry, result.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    "entry",
    ["pyslowfast/SLOW_4x16_R50", "pytorchvideo/slowfast_r50_detection", "mmaction2/slowfast_acrn_r50_8x8",
     "mmaction2/slowonly_r50_4x16_multisports", "mmaction2/videomae_base_16x4"],
)  # fmt: skip
def test_the_app_shows_what_it_finds(entry: str, line: Callable[[str], list[str]], tmp_path: Path) -> None:
    app = load_script("tools/app.py")
    args = app.parse([*line(entry), "--opts", *OPTS])
    cfg = app.detector_config(args)
    predictor = app.VideoPredictor(cfg, keyframes_per_second=args.keyframes_per_second, mode=args.mode)
    session = app.AppSession(predictor, app.action_names(cfg, args.labels), app.Limits(), tmp_path / "visits")
    visit = session.analyse(str(tmp_path / "film.mp4"))
    drawn = session.draw(visit, 0.0, 0.0)
    assert sum(map(len, visit.detections)) > 0
    assert len(drawn.csv.read_text().splitlines()) > 1
    for path in (drawn.video, drawn.timeline, drawn.tubes):
        assert path.stat().st_size > 0
