"""One model gives the same detections and figures from video files and from frames in either naming."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from detectron2.config import CfgNode
from loading import load_script
from numbered_video import read_number, write_numbered_video
from tiny import CONFIG, ROOT, SMALLER

from mestad_d2.data.catalog import register_custom
from mestad_d2.data.per_video import read_values
from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.engine import trainer_class
from mestad_d2.errors import UserError
from mestad_d2.load_config import setup_cfg
from mestad_d2.video.output.extract import NAMINGS, extract_frames


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    return load_script("datasets/extract_frames.py")


def source(toy: Path, name: str, videos: Path, rates: Path | None) -> dict:
    """Entry of ``DATASETS.CUSTOM`` for the toy's validation videos."""
    lists = toy / "annotations"
    entry = {"NAME": name, "VIDEOS": str(videos), "ANNOTATIONS": str(lists / "val.csv")}
    entry |= {"LABEL_MAP": str(lists / "label_map.pbtxt"), "EXCLUDE": str(lists / "val_excluded.csv")}
    return entry | ({"FPS": str(rates)} if rates else {})


def extracted(tool: ModuleType, toy: Path, output: Path) -> list[dict]:
    """The validation videos as files, and as frames in both namings, without loss and as jpeg."""
    ids = sorted({line.split(",")[0] for line in (toy / "annotations" / "val.csv").read_text().splitlines()})
    entries = [source(toy, "files", toy / "videos", None)]
    for naming in NAMINGS:
        for kind in ("png", "jpg"):
            folder = output / f"{naming}_{kind}"
            flags = ["--videos", str(toy / "videos"), "--output", str(folder), "--naming", naming]
            tool.main([*flags, "--format", kind, "--only", *ids])
            entries.append(source(toy, f"{naming}_{kind}", folder, folder / "rates.csv"))
    return entries


def results(cfg: CfgNode, entries: list[dict], output: Path, model: torch.nn.Module) -> dict[str, tuple]:
    """(mAP in percent, text of the detections) of each source."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASETS.CUSTOM = entries
    register_custom(cfg)
    found = {}
    for entry in entries:
        cfg.DATASETS.TEST, cfg.OUTPUT_DIR = (entry["NAME"],), str(output / entry["NAME"])
        figures = trainer_class(cfg).test(cfg, model)
        (csv,) = (output / entry["NAME"]).rglob("detections.csv")
        found[entry["NAME"]] = (figures["frame_map"]["mAP"], csv.read_text())
    return found


def test_detections_are_the_same_from_files_and_lossless_frames(tool: ModuleType, tmp_path: Path) -> None:
    toy = tmp_path / "toy"
    make_toy(toy, seed=5, videos=0, val_videos=2, seconds=5, workers=1)
    opts = [*SMALLER, "INPUT.CLIP.NUM_FRAMES", "8", "MODEL.PROPOSALS.SCORE_THRESH_TEST", "0.0"]
    cfg = setup_cfg(CONFIG, [*opts, "MODEL.ROI_ACTION_HEAD.SCORE_THRESH_TEST", "0.0"])
    torch.manual_seed(0)
    model = trainer_class(cfg).build_model(cfg).eval()
    found = results(cfg, extracted(tool, toy, tmp_path), tmp_path / "out", model)
    direct = found["files"]
    assert direct[1].count("\n") > 100
    for naming in NAMINGS:
        assert found[f"{naming}_png"] == direct
        assert found[f"{naming}_jpg"][1].count("\n") > 100


@pytest.mark.slow
def test_a_trained_model_has_the_same_map(tool: ModuleType, tmp_path: Path) -> None:
    """Lossless frames: equal; jpeg: within a point. MESTAD_TOY and MESTAD_WEIGHTS spare the training."""
    toy = Path(os.environ.get("MESTAD_TOY", tmp_path / "toy"))
    weights = os.environ.get("MESTAD_WEIGHTS")
    if not toy.exists():
        make_toy(toy, workers=1)
    if not weights:
        command = [sys.executable, str(ROOT / "tools" / "train_net.py"), "--config-file", str(CONFIG)]
        opts = ["SOLVER.MAX_ITER", "400", "TEST.EVAL_PERIOD", "0", "OUTPUT_DIR", str(tmp_path / "run")]
        environment = {**os.environ, "DETECTRON2_DATASETS": str(toy.parent), "PYTHONPATH": str(ROOT)}
        subprocess.run([*command, *opts], env=environment, check=True, capture_output=True)
        weights = str(tmp_path / "run" / "model_final.pth")
    cfg = setup_cfg(CONFIG, ["MODEL.DEVICE", "cpu"])
    model = trainer_class(cfg).build_model(cfg)
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=False)["model"], strict=False)
    found = results(cfg, extracted(tool, toy, tmp_path), tmp_path / "out", model.eval())
    print({name: round(figure, 3) for name, (figure, _) in found.items()})
    assert found["files"][0] > 5
    for naming in NAMINGS:
        assert found[f"{naming}_png"] == found["files"]
        assert abs(found[f"{naming}_jpg"][0] - found["files"][0]) < 1


@pytest.mark.parametrize("naming", NAMINGS)
def test_frames_at_another_rate(tmp_path: Path, naming: str) -> None:
    rng = np.random.default_rng(0)
    own = np.cumsum(rng.choice([0.02, 0.033, 0.1], 90)).round(3).tolist()
    times = np.array(write_numbered_video(tmp_path / "v.mkv", 90, Fraction(30), times=own, g="20"))
    count = extract_frames(tmp_path / "v.mkv", tmp_path / "f" / "v", 24.0, naming, ".png")
    paths = sorted((tmp_path / "f" / "v").iterdir())
    assert paths[0].stem == {"pyslowfast": "v_000001", "mmaction2": "img_00001"}[naming]
    assert count == len(paths) == int(times[-1] * 24 + 0.5) + 1
    for index, path in enumerate(paths):
        distances = np.abs(times - index / 24)
        assert distances[read_number(cv2.imread(str(path)))] <= distances.min() + 2e-3
    with pytest.raises(UserError, match="is there already"):
        extract_frames(tmp_path / "v.mkv", tmp_path / "f" / "v", 24.0)


def test_rates_of_earlier_runs_stay(tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "videos").mkdir()
    for name, rate in (("a", 25), ("b", 10), ("c", 30)):
        write_numbered_video(tmp_path / "videos" / f"{name}.mp4", 5, Fraction(rate), codec="libx264")
    flags = ["--videos", str(tmp_path / "videos"), "--output", str(tmp_path / "o")]
    table = tmp_path / "o" / "rates.csv"
    tool.main([*flags, "--only", "a"])
    tool.main([*flags, "--only", "b"])
    assert read_values(str(table)) == {"a": 25.0, "b": 10.0}
    # An error at a later video: the rate of what is there is there.
    (tmp_path / "o" / "c").mkdir()
    shutil.rmtree(tmp_path / "o" / "a")
    with pytest.raises(SystemExit, match="2"):
        tool.main([*flags, "--only", "a", "c"])
    assert "is there already" in capsys.readouterr().err
    assert read_values(str(table)) == {"b": 10.0, "a": 25.0}


@pytest.mark.parametrize("flags", [["--fps", "0"], ["--only", "nobody"]])
def test_wrong_flags(
    tool: ModuleType, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_numbered_video(tmp_path / "v.mp4", 5, Fraction(25))
    with pytest.raises(SystemExit, match="2"):
        tool.main(["--videos", str(tmp_path), "--output", str(tmp_path / "o"), *flags])
    assert capsys.readouterr().err.count("\n") == 1
