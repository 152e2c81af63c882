"""SIGTERM while networks are evaluated: training ends at the next batch, saved, and goes on as if it had not."""

from __future__ import annotations

import signal
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from reliability.kills import state
from reliability.runs import arguments, start_fork, wait_for

from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.engine.stop_signal import EXIT_SAVED
from mestad_d2.evaluation.evaluator import AVAEvaluator

# Evaluated after iteration 2, the first of the second phase, and at the end.
EVALUATED = ["DATASETS.TEST", "('toy_val',)", "TEST.EVAL_PERIOD", 3, "TEST.BATCH_SIZE", 1,
             "SOLVER.CHECKPOINT_PERIOD", 5000]  # fmt: skip


pytestmark = pytest.mark.usefixtures("on_toy")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More key frames than elsewhere, so that an evaluation has batches to be stopped between."""
    root = tmp_path_factory.mktemp("datasets")
    make_toy(root / "toy", seed=0, videos=1, val_videos=1, seconds=9)
    return root


def slow_down(evaluations: Path, number: int, marker: Path) -> None:
    """From now on each batch of the ``number``-th evaluation takes a second more."""
    process = AVAEvaluator.process

    def slow(self: AVAEvaluator, inputs: list, outputs: list) -> None:
        with evaluations.open("a") as file:
            file.write(f"{id(self)}\n")
        if len(dict.fromkeys(evaluations.read_text().split())) == number:
            marker.touch()
            time.sleep(1)
        process(self, inputs, outputs)

    AVAEvaluator.process = slow


def stop_in_evaluation(output: Path, number: int, marker: Path) -> None:
    """Train with an evaluation of a second a batch, and stop it in the ``number``-th."""
    output.mkdir(exist_ok=True)
    slowly = partial(slow_down, output / "evaluations", number, marker)
    run = start_fork(arguments(output, 4, *EVALUATED), output / "out", slowly)
    wait_for(marker.parent, marker.name)
    begun = time.monotonic()
    run.kill(signal.SIGTERM)
    # There are seven batches; this process and the rest of the machine may be slow.
    assert run.wait(60) == EXIT_SAVED, (output / "out").read_text()[-3000:]
    assert time.monotonic() - begun < 6


def finish(output: Path, resume: bool) -> None:
    """Train to the end."""
    output.mkdir(exist_ok=True)
    run = start_fork(arguments(output, 4, *EVALUATED, resume=resume), output / "again")
    assert run.wait(120) == 0, (output / "again").read_text()[-3000:]
    assert (output / "model_final_teacher.pth").is_file()
    assert '"frame_map/mAP"' in (output / "metrics.json").read_text().splitlines()[-1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed run."""
    folder = tmp_path_factory.mktemp("whole")
    finish(folder, resume=False)
    return folder


@pytest.mark.parametrize(("number", "saved"), [(1, "model_0000002.pth"), (3, "model_final.pth")])
def test_evaluation_is_left_and_made_up_for(whole: Path, tmp_path: Path, number: int, saved: str) -> None:
    cut = tmp_path / "cut"
    stop_in_evaluation(cut, number, tmp_path / "evaluating")
    assert (cut / "last_checkpoint").read_text() == saved
    assert not (cut / "model_final_teacher.pth").exists()
    finish(cut, resume=True)
    want, got = state(whole / "model_final.pth"), state(cut / "model_final.pth")
    assert want.keys() == got.keys() and all(torch.equal(want[name], got[name]) for name in want)
    tables = [(output / "inference/toy_val/detections.csv").read_bytes() for output in (whole, cut)]
    assert tables[0] == tables[1]
