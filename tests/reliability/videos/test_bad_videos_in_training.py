"""A training process meets a broken video, or loses a loader process: the policy and what is told."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from reliability.runs import Run, arguments, children_of, start_fork, wait_for

from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.engine.trainer import MESTADTrainer

PLAIN = ["SEMISUP.ENABLED", False]


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a tiny toy dataset is."""
    root = tmp_path_factory.mktemp("datasets")
    make_toy(root / "toy", seed=0, videos=3, val_videos=1, seconds=4)
    return root


@pytest.fixture
def broken(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The second training video of a copy, which loses its content when training is about to begin."""
    root = shutil.copytree(toy, tmp_path / "datasets")
    video = sorted((root / "toy" / "videos").glob("toy_train*"))[1]
    monkeypatch.setenv("DETECTRON2_DATASETS", str(root))
    return video


def spoil_when_loaded(video: Path) -> None:
    """From now on a trainer that has loaded its model cuts the file off."""
    resume_or_load = MESTADTrainer.resume_or_load

    def spoil(trainer: MESTADTrainer, **how: bool) -> None:
        resume_or_load(trainer, **how)
        os.truncate(video, 100)

    MESTADTrainer.resume_or_load = spoil


def start(broken: Path, output: Path, *opts: object) -> Run:
    """A supervised training, whose labelled clips are met in a known order."""
    return start_fork(arguments(output, 8, *PLAIN, *opts), output / "out", partial(spoil_when_loaded, broken))


@pytest.mark.parametrize("workers", [0, 1])
def test_raise_is_one_line(tmp_path: Path, broken: Path, workers: int) -> None:
    run = start(broken, tmp_path, "DATALOADER.NUM_WORKERS", workers)
    assert run.wait(120) == 2
    text = (tmp_path / "out").read_text()
    errors = [line for line in text.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and re.search(rf"{broken}: .* at \d+\.\d+ s", errors[0]), errors
    assert "Traceback" not in text, text[-3000:]


@pytest.mark.parametrize(("most", "code"), [(0.5, 0), (0.0, 2)])
def test_skip_reports_and_has_a_limit(tmp_path: Path, broken: Path, most: float, code: int) -> None:
    run = start(broken, tmp_path, "INPUT.CLIP.ON_ERROR", "skip", "INPUT.CLIP.MAX_SKIPPED", most)
    assert run.wait(120) == code, (tmp_path / "out").read_text()[-3000:]
    skipped = [line for line in (tmp_path / "log.txt").read_text().splitlines() if "skipped:" in line]
    assert skipped and all(str(broken) in line for line in skipped)
    # Once a clip, of which that video has three; a limit of none lets one pass.
    assert len(skipped) == (2 if code else 3)
    if code:
        errors = [line for line in (tmp_path / "out").read_text().splitlines() if line.startswith("error:")]
        assert len(errors) == 1 and "2 of" in errors[0] and "MAX_SKIPPED" in errors[0]
    else:
        assert (tmp_path / "model_final.pth").is_file()


def test_a_loader_process_that_dies_ends_the_run(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))
    run = start_fork(arguments(tmp_path, 10000, *PLAIN, "DATALOADER.NUM_WORKERS", 1), tmp_path / "out")
    wait_for(tmp_path, "model_*.pth")
    (worker,) = children_of(run.process.pid)
    begun = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    assert run.wait(60) not in (None, 0), "hangs"
    assert time.monotonic() - begun < 30
    # What there was is there, to go on from.
    assert (tmp_path / "last_checkpoint").is_file()
