"""The same seed gives the same numbers, and what a run was is written beside it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest
import torch
import yaml
from reliability.kills import state
from reliability.runs import CONFIG, arguments, start_fork
from tiny import ROOT, tiny_cfg

from mestad_d2.engine.run_info import git_state, read_starts, settle_seed, write_run_info
from mestad_d2.load_config import make_deterministic, setup_cfg


def train(toy: Path, output: Path, *opts: object) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Losses of the last iteration of a run in both phases, and its whole state."""
    output.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DETECTRON2_DATASETS", str(toy))
        run = start_fork(arguments(output, 4, *opts), output / "out")
        assert run.wait(120) == 0, (output / "out").read_text()[-3000:]
    row = json.loads((output / "metrics.json").read_text().splitlines()[-1])
    return {name: value for name, value in row.items() if "loss" in name}, state(output / "model_final.pth")


@pytest.fixture(scope="module")
def first(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with seed 3."""
    folder = tmp_path_factory.mktemp("first")
    torch.save(train(toy, folder), folder / "result")
    return folder


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether all tensors are the same, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("opts", [[], ["SOLVER.DETERMINISTIC", True], ["DATALOADER.NUM_WORKERS", 1]])
def test_the_same_seed_gives_the_same_losses(toy: Path, first: Path, tmp_path: Path, opts: list) -> None:
    want, weights = torch.load(first / "result", weights_only=True)
    losses, again = train(toy, tmp_path, *opts)
    assert len(losses) == 9 and losses == want
    assert equal(again, weights)


def test_another_seed_gives_others(toy: Path, first: Path, tmp_path: Path) -> None:
    want, weights = torch.load(first / "result", weights_only=True)
    losses, other = train(toy, tmp_path, "SEED", 4)
    assert losses.keys() == want.keys() and losses["total_loss"] != want["total_loss"]
    assert other.keys() == weights.keys() and not equal(other, weights)


def test_deterministic_kernels_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    make_deterministic(tiny_cfg())
    assert torch.backends.cudnn.benchmark and not torch.are_deterministic_algorithms_enabled()
    try:
        make_deterministic(tiny_cfg("SOLVER.DETERMINISTIC", True))
        assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
        # What cuBLAS needs to be deterministic, by its manual.
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] in (":4096:8", ":16:8")
    finally:
        torch.use_deterministic_algorithms(False)


def git(folder: Path, *arguments: str) -> str:
    """What git says."""
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    return subprocess.run(["git", *who, "-C", folder, *arguments], capture_output=True, text=True).stdout


def test_what_a_run_was_is_written_beside_it(first: Path, tmp_path: Path) -> None:
    (start,) = read_starts(first)
    assert start["seed"] == 3 and start["processes"] == 1 and start["resumed"] is False
    assert start["config_file"] == str(CONFIG)
    found = start["versions"]
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert found["python"] == platform.python_version() and {"detectron2", "av", "numpy"} <= set(found)
    # Somebody may commit while the tests run.
    known = git(ROOT, "rev-list", "-n", "50", "HEAD").split()
    assert start["git"]["commit"] in known if known else start["git"] == {}
    # The config is whole: it starts the same run by itself.
    (tmp_path / "again.yaml").write_text(start["config"])
    cfg = setup_cfg(tmp_path / "again.yaml")
    assert yaml.safe_load(cfg.dump()) == yaml.safe_load(start["config"])
    assert (cfg.SOLVER.MAX_ITER, cfg.SEED, cfg.OUTPUT_DIR) == (4, 3, str(first))


def test_git_state_names_commit_and_changed_files(tmp_path: Path) -> None:
    assert git_state(tmp_path) == {}
    git(tmp_path, "init")
    for name in ("a.py", "b c.py"):
        (tmp_path / name).write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "x")
    commit = git(tmp_path, "rev-parse", "HEAD").strip()
    assert len(commit) == 40 and git_state(tmp_path) == {"commit": commit, "changed": []}
    (tmp_path / "a.py").write_text("2\n")
    (tmp_path / "b c.py").write_text("2\n")
    (tmp_path / "new.py").write_text("")
    assert git_state(tmp_path) == {"commit": commit, "changed": ["a.py", "b c.py"]}
    # Code installed below somebody's own repository is not that repository's.
    (tmp_path / "site").mkdir()
    assert git_state(tmp_path / "site") == {}


def test_a_run_without_a_seed_is_given_one_and_keeps_it(tmp_path: Path) -> None:
    def settled(resume: bool) -> int:
        cfg = tiny_cfg("SEED", -1, "OUTPUT_DIR", tmp_path)
        settle_seed(cfg, resume)
        write_run_info(cfg, CONFIG, resume)
        assert cfg.is_frozen()
        return cfg.SEED

    seeds = {settled(False) for _ in range(5)}
    assert len(seeds) == 5 and min(seeds) >= 0
    seed = read_starts(tmp_path)[0]["seed"]
    assert settled(True) == settled(True) == seed
    starts = read_starts(tmp_path)
    assert [s["resumed"] for s in starts] == [False, True, True] and {s["seed"] for s in starts} == {seed}
    # A run that was killed while it wrote, or an older one, starts all the same.
    (tmp_path / "run_info.json").write_text('{"starts": [')
    assert settled(True) >= 0 and len(read_starts(tmp_path)) == 1
