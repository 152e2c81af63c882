"""Record a run: seed, versions, config, machine and git state, written beside its checkpoints."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from mestad_d2.checkpoint.write import write_text_whole

FILE = "run_info.json"
PACKAGES = ("mestad_d2", "torch", "torchvision", "detectron2", "fvcore", "pytorchvideo", "av", "numpy")


def settle_seed(cfg: CfgNode, resume: bool) -> None:
    """Give a run without a seed (``SEED`` -1) one, in place; a resumed run keeps that of its first start.

    All processes call it, and get the same seed.
    """
    if cfg.SEED >= 0:
        return
    drawn = comm.shared_random_seed() % 2**31
    starts = read_starts(cfg.OUTPUT_DIR) if resume else []
    frozen = cfg.is_frozen()
    cfg.defrost()
    cfg.SEED = next((start["seed"] for start in reversed(starts) if "seed" in start), drawn)
    if frozen:
        cfg.freeze()


def read_starts(output_dir: str | Path) -> list[dict[str, Any]]:
    """Read the recorded starts of the run in a folder, oldest first; none where no file is readable."""
    try:
        starts = json.loads((Path(output_dir) / FILE).read_text())["starts"]
        return [start for start in starts if isinstance(start, dict)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write_run_info(cfg: CfgNode, config_file: str | Path, resume: bool) -> Path | None:
    """Add this start to ``OUTPUT_DIR/run_info.json``; a run that is not resumed starts a new list.

    Only the main process writes; the others get None. The whole config is text, as yaml.
    """
    if not comm.is_main_process():
        return None
    start = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "seed": int(cfg.SEED),
        "resumed": bool(resume),
        "processes": comm.get_world_size(),
        "config_file": str(config_file),
        "config": cfg.dump(),
        "versions": versions(),
        "machine": {
            "host": platform.node(),
            "system": platform.platform(),
            "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
            "threads": torch.get_num_threads(),
        },
        "git": git_state(Path(__file__).resolve().parents[2]),
    }
    path = Path(cfg.OUTPUT_DIR) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    starts = [*(read_starts(cfg.OUTPUT_DIR) if resume else []), start]
    write_text_whole(json.dumps({"starts": starts}, indent=1) + "\n", path)
    return path


def versions() -> dict[str, str]:
    """Return the versions of Python, CUDA and the packages that affect results; absent ones are left out."""
    found = {"python": platform.python_version(), "cuda": str(torch.version.cuda)}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def git_state(folder: Path) -> dict[str, Any]:
    """Return commit and changed files of the code; empty where ``folder`` is not the top of a checkout."""
    try:
        if Path(_git(folder, "rev-parse", "--show-toplevel").strip()) != folder.resolve():
            return {}
        commit = _git(folder, "rev-parse", "HEAD").strip()
        changed = _git(folder, "diff", "--name-only", "-z", "HEAD").split("\0")
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "changed": [name for name in changed if name]}


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout
