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


def train(place: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run tools/train_net.py into ``place/run``."""
    options = [*SMALLER, "OUTPUT_DIR", place / "run", *arguments]
    flags = [a for a in options if str(a).startswith("--")]
    return tool(
        place, "train_net.py", "--config-file", CONFIG, *flags, *(a for a in options if a not in flags)
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


# tools/train_net.py in one process for several command lines: most of a refused one's seconds are imports.
PROGRAM = """
import contextlib, io, json, sys
from loading import load_script
tool = load_script("tools/train_net.py")
found = {}
for name, arguments in json.loads(sys.argv[1]).items():
    with contextlib.redirect_stderr(io.StringIO()) as said:
        try:
            tool.main(tool.parse(arguments))
            code = 0
        except SystemExit as end:
            code = end.code
    found[name] = [code, said.getvalue()]
print("FOUND" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def refused(place: Path) -> dict[str, tuple[int, str]]:
    """Exit code and errors of command lines that name something wrong."""
    # INST of os.system, as protocol 0 writes it.
    (place / "evil.pkl").write_bytes(b"(S'touch " + str(place / "owned").encode() + b"'\nios\nsystem\n.")
    bad = place / "bad.yaml"
    bad.write_text(f"OUTPUT_DIR: !!python/object/apply:os.mkdir ['{place / 'owned'}']\n")
    usual = [*map(str, SMALLER), "OUTPUT_DIR", str(place / "refused")]
    commands = {
        "no file": ["--config-file", CONFIG, "--eval-only", *usual, "MODEL.WEIGHTS", "nowhere.pth"],
        "no key": ["--config-file", CONFIG, *usual, "MODEL.NO_SUCH_KEY", "1"],
        "code in weights": [
            "--config-file",
            CONFIG,
            "--eval-only",
            *usual,
            "MODEL.WEIGHTS",
            place / "evil.pkl",
        ],
        "code in config": ["--config-file", bad, *usual],
    }
    text = json.dumps({name: list(map(str, command)) for name, command in commands.items()})
    environment = {
        **os.environ,
        "DETECTRON2_DATASETS": str(place / "datasets"),
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM, text], capture_output=True, text=True,
                          env=environment, timeout=240)  # fmt: skip
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FOUND")]
    return json.loads(line.removeprefix("FOUND"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no file", "nowhere.pth"),
        ("no key", "NO_SUCH_KEY"),
        ("code in weights", "evil.pkl"),
        ("code in config", "bad.yaml"),
    ],
)
def test_what_is_wrong_is_one_line(place: Path, refused: dict, name: str, message: str) -> None:
    code, said = refused[name]
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert code == 2 and len(errors) == 1 and message in errors[0] and "Traceback" not in said
    if name == "code in weights":
        assert "nothing of it was run" in errors[0] and str(place / "evil.pkl") in errors[0]
    assert not (place / "owned").exists()


def test_a_users_mistake_is_one_line(place: Path) -> None:
    failed = train(place, "SOLVER.OPTIMIZER", "Magic")
    errors = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
    assert failed.returncode == 2 and len(errors) == 1 and "Magic" in errors[0]
    assert "Traceback" not in failed.stderr
