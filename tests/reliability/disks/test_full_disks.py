"""A disk that is full at any write of any tool: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import av
import pytest
import torch
import yaml
from data.importers import exports
from detectron2.modeling import build_model
from PIL import Image
from tiny import CONFIG, ROOT, SMALLER, tiny_cfg

pytestmark = pytest.mark.slow

# Shares of the space that the tool needs.
SHARES = (0.8, 0.4, 0.05)
SHELL = """mount -t tmpfs -o size="$1" none "$2" || exit 99
disk="$2"; copy="$3"; shift 3
"$@"; code=$?
cp -r "$disk" "$copy"; exit $code"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, toy: Path) -> Path:
    """What the tools read: the toy dataset, weights of a tiny detector, tubes, labels of another tool."""
    root = tmp_path_factory.mktemp("inputs")
    (root / "toy").symlink_to(toy / "toy")
    torch.manual_seed(0)
    torch.save({"model": build_model(tiny_cfg()).state_dict()}, root / "w.pth")
    rows = [f"v,1,1,{frame},1,1,40,40" for frame in range(1, 200)]
    header = "video,class,tube,frame,x1,y1,x2,y2"
    (root / "tubes.csv").write_text("\n".join([header, *rows]) + "\n")
    (root / "found.csv").write_text("\n".join([header + ",score", *(f"{row},0.9" for row in rows)]) + "\n")
    labels = sorted((toy / "toy" / "annotations" / "val.csv").read_text().splitlines())
    (root / "detections.csv").write_text("".join(f"{row.rsplit(',', 1)[0]},0.5\n" for row in labels))
    box = ((10.0, 20.0, 30.0, 70.0), ("sit", "walk"))
    exports.vatic(root / "vatic.txt", {person: dict.fromkeys(range(40), box) for person in range(1, 9)})
    return root


def commands(place: Path, output: Path) -> dict[str, list[object]]:
    """Command line of each tool."""
    toy, opts = place / "toy", ["--opts", *SMALLER, "MODEL.WEIGHTS", place / "w.pth", "MODEL.DEVICE", "cpu"]
    video, lists = toy / "videos" / "toy_val_000.mp4", toy / "annotations"
    labels = ["--labels", lists / "label_map.pbtxt"]
    data = ["DATASETS.TRAIN", "('toy_train',)", "DATALOADER.NUM_WORKERS", 0, "MODEL.DEVICE", "cpu"]
    config = ["--config-file", CONFIG]
    return {
        "demo": ["tools/demo.py", *config, "--input", video, "--output", output / "o", *labels, *opts],
        "detect_many": ["tools/detect_many.py", *config, "--input", video, "--output", output / "o", *labels, *opts],
        "densify": ["tools/densify.py", *config, "--annotations", lists / "train.csv", "--videos", toy / "videos",
                    "--output", output / "dense.csv", *labels, "--rate", 5, *opts],
        "export": ["tools/export_model.py", *config, "--format", "torchscript", "--output", output / "m.pt", *opts],
        "onnx": ["tools/export_model.py", *config, "--format", "onnx", "--output", output / "m.onnx", *opts],
        "report": ["tools/evaluate_ava.py", "--groundtruth", lists / "val.csv", "--detections",
                   place / "detections.csv", "--labelmap", lists / "label_map.pbtxt", "--report", output / "r",
                   "--output", output / "r.json"],
        "evaluate_tubes": ["tools/evaluate_tubes.py", "--groundtruth", place / "tubes.csv", "--detections",
                           place / "found.csv", "--output", output / "t.json", "--write-tubes", output / "t.csv",
                           "--report", output / "t"],
        "visualize": ["tools/visualize_data.py", *config, "--output", output / "p", "--number", 3, *data],
        "frames": ["datasets/extract_frames.py", "--videos", toy / "videos", "--output", output / "f"],
        "import_labels": ["tools/import_labels.py", place / "vatic.txt", "--output", output / "l.csv", "--label-map",
                          output / "l.pbtxt", "--size", "200x100", "--fps", 10, "--rate", "every"],
        "train": ["tools/train_net.py", *config, "OUTPUT_DIR", output / "run", "SOLVER.MAX_ITER", 2,
                  "DATASETS.TEST", "()", *SMALLER, *data],
    }  # fmt: skip


TOOLS = (
    "demo",
    "detect_many",
    "densify",
    "export",
    "onnx",
    "report",
    "evaluate_tubes",
    "visualize",
    "frames",
    "import_labels",
    "train",
)


def run(place: Path, folder: Path, tool: str, size: int) -> tuple[subprocess.CompletedProcess, Path]:
    """Run a tool whose output goes to a disk of ``size`` bytes; returns what it said and a copy of the disk."""
    disk, copy = folder / "disk", folder / "copy"
    disk.mkdir(parents=True)
    command = [sys.executable, "-W", "ignore", *map(str, commands(place, disk)[tool])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DETECTRON2_DATASETS": str(place)}
    shell = ["unshare", "-rm", "sh", "-c", SHELL, "sh", str(size), str(disk), str(copy), *command]
    try:
        done = subprocess.run(shell, env=environment, cwd=ROOT, text=True, capture_output=True, timeout=1200)
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if not copy.exists():
        pytest.skip(f"no disks can be mounted here: {done.stderr[-200:]}")
    return done, copy


def check_whole(path: Path) -> None:
    """Fail where a file is not of its format to its end."""
    text = path.suffix in (".json", ".jsonl", ".csv", ".html", ".xml") and path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        json.loads(text)
    elif path.suffix == ".jsonl":
        assert not text or text.endswith("\n")
        [json.loads(line) for line in text.splitlines()]
    elif path.suffix == ".csv":
        assert not text or text.endswith("\n")
    elif path.suffix == ".html":
        assert text.rstrip().endswith("</html>")
    elif path.suffix == ".xml":
        ElementTree.fromstring(text)
    elif path.suffix in (".png", ".jpg"):
        Image.open(path).load()
    elif path.suffix == ".mp4":
        with av.open(str(path)) as container:
            assert sum(1 for _ in container.decode(video=0)) > 0
    elif path.suffix == ".yaml":
        yaml.unsafe_load(path.read_text())
    elif path.suffix == ".pth":
        torch.load(path, weights_only=True)
    elif path.suffix == ".pt":
        torch.jit.load(str(path))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_full_disk_is_one_line_and_leaves_whole_files(place: Path, tmp_path: Path, tool: str) -> None:
    done, copy = run(place, tmp_path / "whole", tool, 2**28)
    assert done.returncode == 0, done.stderr[-2000:]
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert files
    for path in files:
        check_whole(path)
    need = sum(-(-path.stat().st_size // 4096) * 4096 for path in files)
    for share in SHARES:
        done, copy = run(place, tmp_path / str(share), tool, max(round(share * need), 4096))
        said = f"{tool}, {share} of {need} bytes: exit code {done.returncode}\n{done.stderr[-2000:]}"
        if done.returncode == 0 and share != SHARES[-1]:
            # Pages are counted, not bytes: small files may just fit.
            continue
        errors = [line for line in done.stderr.splitlines() if "error: " in line]
        assert done.returncode in (1, 2) and "Traceback" not in done.stderr + done.stdout, said
        assert len(errors) == 1 and ("space" in errors[0] or "not written" in errors[0]), said
        for path in copy.rglob("*"):
            # What densify keeps to go on from is in dense.csv.parts, by design.
            assert not (path.name.startswith(".") and ".part" in path.name), said
            if path.is_file():
                check_whole(path)
