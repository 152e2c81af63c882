"""The command lines: train, evaluate, resume and detect, on a toy dataset of seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import CONFIG, ROOT, SMALLER

from mestad_d2.data.toy.dataset import make_toy


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a toy dataset below ``datasets``."""
    root = tmp_path_factory.mktemp("place")
    make_toy(root / "datasets" / "toy", seed=0, videos=2, val_videos=1, seconds=5)
    return root


def tool(place: Path, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a tool as a user would."""
    environment = {**os.environ, "DETECTRON2_DATASETS": str(place / "datasets"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", str(ROOT / "tools" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240)


def train(place: Path, *arguments: object, config: object = CONFIG) -> subprocess.CompletedProcess[str]:
    """Run tools/train_net.py into ``place/run``."""
    options = [*SMALLER, "OUTPUT_DIR", place / "run", *arguments]
    flags = [a for a in options if str(a).startswith("--")]
    return tool(
        place, "train_net.py", "--config-file", config, *flags, *(a for a in options if a not in flags)
    )


def test_train_evaluate_and_detect(place: Path) -> None:
    trained = train(place, "SOLVER.MAX_ITER", 4)
    assert trained.returncode == 0, trained.stderr[-2000:]
    metrics = [json.loads(line) for line in (place / "run" / "metrics.json").read_text().splitlines()]
    assert any("frame_map/mAP" in line and "person/AP50" in line for line in metrics)

    evaluated = train(place, "--eval-only", "MODEL.WEIGHTS", place / "run" / "model_final.pth")
    assert evaluated.returncode == 0, evaluated.stderr[-2000:]
    assert "frame-mAP" in evaluated.stdout + evaluated.stderr

    video = next((place / "datasets" / "toy" / "videos").glob("toy_val*.mp4"))
    broken = place / "broken.mp4"
    broken.write_bytes(b"no video")
    found = tool(place, "demo.py", "--config-file", CONFIG, "--input", broken, video, "--output", place / "out",
                 "--opts", *SMALLER, "MODEL.WEIGHTS", place / "run" / "model_final.pth")  # fmt: skip
    # The broken one is reported in one line, the other one is done all the same.
    assert found.returncode == 2
    assert "error:" in found.stderr and "broken.mp4" in found.stderr and "Traceback" not in found.stderr
    for suffix in (".mp4", ".csv", ".json"):
        assert (place / "out" / (video.stem + suffix)).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("MODEL.WEIGHTS", "nowhere.pth", "--eval-only"), "nowhere.pth"),
        (("MODEL.NO_SUCH_KEY", "1"), "NO_SUCH_KEY"),
        (("SOLVER.OPTIMIZER", "Magic"), "Magic"),
    ],
)
def test_a_users_mistake_is_one_line(place: Path, arguments: tuple, message: str) -> None:
    failed = train(place, *arguments)
    errors = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
    assert failed.returncode == 2 and len(errors) == 1 and message in errors[0]
    assert "Traceback" not in failed.stderr


def test_weights_that_would_run_code_are_one_line(place: Path) -> None:
    evil, owned = place / "evil.pkl", place / "ran"
    # INST of os.system, as protocol 0 writes it.
    evil.write_bytes(b"(S'touch " + str(owned).encode() + b"'\nios\nsystem\n.")
    failed = train(place, "--eval-only", "MODEL.WEIGHTS", evil)
    errors = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
    assert failed.returncode == 2 and len(errors) == 1 and not owned.exists()
    assert "nothing of it was run" in errors[0] and str(evil) in errors[0]
    assert "Traceback" not in failed.stderr


def test_config_with_an_unsafe_tag_is_refused(place: Path) -> None:
    config = place / "bad.yaml"
    config.write_text(f"OUTPUT_DIR: !!python/object/apply:os.mkdir ['{place / 'owned'}']\n")
    failed = train(place, config=config)
    assert failed.returncode == 2 and "bad.yaml" in failed.stderr
    assert not (place / "owned").exists()
