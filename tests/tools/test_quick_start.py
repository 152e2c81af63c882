"""Programs answer --help at once, and load neither the compiler nor what draws before their first result."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from detectron2.engine import default_argument_parser
from loading import ROOT, load_script

# Imports of these take from a tenth of a second to more than one.
HEAVY = ("torch", "detectron2", "scipy.optimize", "matplotlib", "gradio", "cv2", "av")


def python(code: str) -> subprocess.CompletedProcess:
    """A fresh interpreter that sees this repository."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True
    )


TOOLS = {
    "demo": "--config-file", "app": "--config-file", "detect_many": "--config-file", "densify": "--config-file",
    "export_model": "--config-file", "train_net": "--config-file", "check_dataset": "--config-file",
    "import_labels": "cvat, label-studio, via, coco, mot or vatic", "reproduce": "--strict",
}  # fmt: skip


@pytest.mark.parametrize("tool", TOOLS)
def test_help_loads_nothing_heavy(tool: str) -> None:
    code = f"""
import runpy, sys
sys.argv = ["tools/{tool}.py", "--help"]
try:
    runpy.run_path("tools/{tool}.py", run_name="__main__")
except SystemExit as end:
    assert end.code == 0
print([name for name in {HEAVY} if name in sys.modules])
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert TOOLS[tool] in " ".join(done.stdout.split()) and done.stdout.splitlines()[-1] == "[]"


def test_a_predictor_needs_no_compiler_and_prints_no_warning() -> None:
    code = """
import sys
from mestad_d2.process_setup import start_quickly
start_quickly()
import mestad_d2.inference.predictor, mestad_d2.inference.results.outputs
print([name for name in ("torch._dynamo", "scipy.optimize", "matplotlib", "gradio") if name in sys.modules])
# What was left out is there once it is needed, with torchvision's own question answered by the compiler.
import torch, torchvision
from torchvision.ops import roi_align
supported = sys.modules[roi_align.__module__].is_compile_supported("cpu")
from torch._dynamo.utils import is_compile_supported
assert supported == is_compile_supported("cpu")
assert torch.compile(lambda x: x + 1, backend="eager")(torch.zeros(2)).tolist() == [1, 1]
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[]"] and "Warning" not in done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--config-file a.yaml --resume --eval-only --num-gpus 2 --num-machines 3 --machine-rank 1 --dist-url tcp://h:1",
        "--config-file a.yaml MODEL.DEVICE cpu --resume",
    ],
)
def test_training_takes_detectron2s_arguments(line: str) -> None:
    """Read as the installed detectron2 reads them, apart from the default address and our own flags."""
    wanted = vars(default_argument_parser().parse_args(line.split()))
    found = vars(load_script("tools/train_net.py").parse(line.split()))
    if "--dist-url" not in line:
        assert found.pop("dist_url") == "auto" and wanted.pop("dist_url")
    assert {name: found[name] for name in wanted} == wanted
    assert set(found) - set(wanted) == {"accept_changes", "imports"}
