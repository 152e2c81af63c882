"""Configs and models by name, from a checkout and from an installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import ROOT

from mestad_d2 import model_zoo
from mestad_d2.errors import UserError


def test_every_config_is_listed_and_none_of_the_bases() -> None:
    on_disk = {p.relative_to(ROOT / "configs").as_posix() for p in (ROOT / "configs").rglob("*.yaml")}
    assert model_zoo.list() == sorted(name for name in on_disk if "Base" not in name)


@pytest.mark.parametrize("name", ["AVA-v2.1/SlowFast_R101-NL_8x8", "AVA-v2.1/SlowFast_R101-NL_8x8.yaml"])
def test_a_config_by_name_with_what_it_is_based_on(name: str) -> None:
    cfg = model_zoo.get_config(name)
    assert cfg.MODEL.VIDEO_RESNET.DEPTH == 101 and cfg.DATASETS.TEST == ("ava_v2.1_val",)
    assert cfg.SOLVER.BASE_LR == 0.075 and cfg.MODEL.META_ARCHITECTURE == "MESTAD"
    cfg.MODEL.WEIGHTS = "mine.pth"
    assert model_zoo.get_config(name).MODEL.WEIGHTS == ""
    assert Path(model_zoo.get_config_file(name)).is_file()


def test_a_model_by_name() -> None:
    model = model_zoo.get("toy/SlowOnly_tiny", device="cpu")
    assert model.device.type == "cpu" and model.roi_heads.num_classes == 12


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("AVA-v2.2/SlowFast_R50_8x8_TAL", "AVA-v2.2/SlowFast_R50_8x8_TLA.yaml"),
        ("SlowOnly_R50_4x16.yaml", "AVA-v2.2/SlowOnly_R50_4x16.yaml"),
        ("ava-v2.2/slowonly_r50_4x16", "AVA-v2.2/SlowOnly_R50_4x16.yaml"),
        ("xyz", "model_zoo.list()"),
        ("../configs/toy/SlowOnly_tiny", "toy/SlowOnly_tiny.yaml"),
        ("/etc/passwd", "model_zoo.list()"),
        ("", "model_zoo.list()"),
    ],
)
def test_an_unknown_name_is_one_line_with_what_comes_near(name: str, near: str) -> None:
    with pytest.raises(UserError, match="there is no config") as caught:
        model_zoo.get(name)
    assert near in str(caught.value) and "\n" not in str(caught.value)


def test_trained_weights_are_not_promised() -> None:
    with pytest.raises(UserError, match="no trained weights"):
        model_zoo.get_config("AVA-v2.2/SlowFast_R50_8x8", trained=True)


def test_an_installed_package_brings_its_configs(tmp_path: Path) -> None:
    """What a wheel would hold, imported away from the checkout."""
    build = [
        "setup.py",
        "-q",
        "egg_info",
        "--egg-base",
        tmp_path,
        "build_py",
        "--build-lib",
        tmp_path / "lib",
    ]
    subprocess.run(
        [sys.executable, *map(str, build)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "MESTAD_WITHOUT_DETECTRON2": "1"},
    )  # no network
    code = (
        "from mestad_d2 import model_zoo as zoo; print(zoo.get_config_file('toy/SlowOnly_tiny'), len(zoo.list()), "
        "zoo.get_config('AVA-v2.1/SlowFast_R50_8x8_TLA').SOLVER.MAX_ITER)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "lib")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    path, count, iterations = done.stdout.split()[-3:]
    assert Path(path).is_relative_to(tmp_path) and int(count) == len(model_zoo.list())
    assert iterations == "60000"
