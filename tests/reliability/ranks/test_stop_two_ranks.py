"""Signals to two processes in a pass over a dataset, which they end together: the iteration before is saved."""

from __future__ import annotations

import importlib
import signal
import time
from functools import partial
from pathlib import Path

import pytest
from detectron2.utils import comm
from reliability.runs import arguments, start_fork, wait_for

from mestad_d2.data.toy.dataset import make_toy
from mestad_d2.engine.stop_signal import EXIT_SAVED, GRACE_SECONDS
from mestad_d2.evaluation.evaluator import AVAEvaluator

pytestmark = pytest.mark.usefixtures("on_toy")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More key frames than elsewhere, so that each process has several batches."""
    root = tmp_path_factory.mktemp("datasets")
    make_toy(root / "toy", seed=0, videos=1, val_videos=0, seconds=9)
    return root


def slow_rank(name: str, marker: Path) -> None:
    """From now on the second process takes half a second more for each batch of the teacher's pass."""
    module = importlib.import_module(f"mestad_d2.engine.mean_teacher.{name}")
    find_people = module.find_people

    def slow(*given: object, **options: object) -> list:
        if comm.get_rank() == 1:
            marker.touch()
            time.sleep(0.5)
        return find_people(*given, **options)

    module.find_people = slow


@pytest.mark.parametrize(
    ("module", "labeler"),
    [("trainer", "PerClassThreshold"), pytest.param("looks", "TrackTLA", marks=pytest.mark.slow)],
)
def test_while_the_labeler_is_fitted(module: str, labeler: str, tmp_path: Path) -> None:
    """The first process is done with its share when the signal comes, and waits for the second's."""
    given = arguments(tmp_path, 6, "SOLVER.CHECKPOINT_PERIOD", 5000, "SEMISUP.PSEUDO_LABELER", labeler,
                      "TEST.BATCH_SIZE", 1, processes=2)  # fmt: skip
    run = start_fork(given, tmp_path / "out", partial(slow_rank, module, tmp_path / "fitting"))
    wait_for(tmp_path, "fitting")
    time.sleep(0.8)
    begun = time.monotonic()
    run.kill(signal.SIGTERM)
    assert run.wait(60) == EXIT_SAVED, (tmp_path / "out").read_text()[-3000:]
    assert time.monotonic() - begun < GRACE_SECONDS / 2
    # The fit comes before the work of iteration 3, which is done again.
    assert [path.name for path in tmp_path.glob("*.pth")] == ["model_0000002.pth"]


def slow_evaluation(marker: Path) -> None:
    """From now on the second process takes half a second more for each batch of an evaluation."""
    process = AVAEvaluator.process

    def slow(self: AVAEvaluator, inputs: list, outputs: list) -> None:
        if comm.get_rank() == 1:
            marker.touch()
            time.sleep(0.5)
        process(self, inputs, outputs)

    AVAEvaluator.process = slow


@pytest.mark.slow
def test_while_networks_are_evaluated(tmp_path: Path) -> None:
    given = arguments(tmp_path, 6, "SOLVER.CHECKPOINT_PERIOD", 5000, "DATASETS.TEST", "('toy_train',)",
                      "TEST.EVAL_PERIOD", 2, "TEST.BATCH_SIZE", 1, processes=2)  # fmt: skip
    run = start_fork(given, tmp_path / "out", partial(slow_evaluation, tmp_path / "evaluating"))
    wait_for(tmp_path, "evaluating")
    time.sleep(0.8)
    begun = time.monotonic()
    run.kill(signal.SIGTERM)
    assert run.wait(60) == EXIT_SAVED, (tmp_path / "out").read_text()[-3000:]
    assert time.monotonic() - begun < GRACE_SECONDS / 2
    assert [path.name for path in tmp_path.glob("*.pth")] == ["model_0000001.pth"]
