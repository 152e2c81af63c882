"""Signals at any time: imports, datasets, several processes that start, the fit of the teacher's labeler."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from reliability.runs import wait_for, wait_until_heeded
from tiny import CONFIG, ROOT, SMALLER, tiny_cfg

from mestad_d2.engine import build_trainer
from mestad_d2.engine.mean_teacher import trainer as tla_trainer
from mestad_d2.process_setup import EXIT_SAVED


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_the_libraries_are_imported(number: int, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "tools/train_net.py",
        "--config-file",
        str(CONFIG),
        "OUTPUT_DIR",
        str(tmp_path),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        wait_until_heeded(process.pid, signal.SIGTERM)
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == EXIT_SAVED
    assert said.splitlines()[-1].startswith(f"{signal.Signals(number).name}: nothing new to save")
    assert "Traceback" not in said


# Imported with --import: a dataset that takes long to read.
SLOW_DATASET = """
import time
from pathlib import Path
from mestad_d2.data import catalog
def slow(*given):
    Path({marker!r}).touch()
    time.sleep(900)
catalog.load_ava = slow
"""


@contextmanager
def training(toy: Path, folder: Path, *flags: str) -> Iterator[subprocess.Popen]:
    """A run whose dataset takes minutes to read; ``folder/reading`` says when that has begun."""
    (folder / "slow_dataset.py").write_text(SLOW_DATASET.format(marker=str(folder / "reading")))
    command = [sys.executable, "-W", "ignore", "tools/train_net.py", "--config-file", str(CONFIG), *flags]
    command += ["--import", str(folder / "slow_dataset.py"), "OUTPUT_DIR", str(folder / "out")]
    process = subprocess.Popen(
        [*command, "MODEL.DEVICE", "cpu", *SMALLER], cwd=ROOT, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "DETECTRON2_DATASETS": str(toy)},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()


def children_of(pid: int) -> list[int]:
    """Process ids of the spawned processes that train."""
    ids = [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [child for child in ids if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


@pytest.mark.parametrize("processes", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_while_the_dataset_is_read(toy: Path, tmp_path: Path, processes: str) -> None:
    with training(toy, tmp_path, "--num-gpus", processes) as run:
        wait_for(tmp_path, "reading", 900)
        children = children_of(run.pid)
        run.send_signal(signal.SIGTERM)
        said = run.communicate(timeout=600)[1]
    assert run.returncode == EXIT_SAVED, said
    assert "SIGTERM: nothing new to save" in said and "Traceback" not in said
    assert not list(tmp_path.glob("out/model_*"))
    assert len(children) == (2 if processes == "2" else 0)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


@pytest.mark.slow
def test_while_several_processes_start(toy: Path, tmp_path: Path) -> None:
    """The first process that trains is there, but does not listen to signals yet."""
    with training(toy, tmp_path, "--num-gpus", "2") as run:
        end = time.monotonic() + 900
        while not (children := children_of(run.pid)):
            assert time.monotonic() < end
            time.sleep(0.002)
        run.send_signal(signal.SIGTERM)
        said = run.communicate(timeout=600)[1]
    assert run.returncode == EXIT_SAVED, said
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_while_python_shuts_down() -> None:
    # Objects of the main module are removed after Python has given up its handlers of signals.
    code = """
import os, time
from mestad_d2.process_setup import leave_on_signals
leave_on_signals()
class Slow:
    def __del__(self, write=os.write, sleep=time.sleep):
        write(1, b"ends\\n")
        sleep(2)
slow = Slow()
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env)
    try:
        assert process.stdout.readline() == b"ends\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.stdout.close()


def test_while_the_labeler_is_fitted(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(toy))
    cfg = tiny_cfg("OUTPUT_DIR", tmp_path, "SOLVER.MAX_ITER", 6, "SEMISUP.ENABLED", True, "DATASETS.TEST", "()",
                   "SEMISUP.PSEUDO_LABELER", "PerClassThreshold", "SEMISUP.BURN_IN_ITERS", 3)  # fmt: skip
    find_people, asked = tla_trainer.find_people, []

    def interrupted(*arguments: object, **options: object) -> list:
        if not asked:
            os.kill(os.getpid(), signal.SIGTERM)
        asked.append(1)
        return find_people(*arguments, **options)

    monkeypatch.setattr(tla_trainer, "find_people", interrupted)
    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=False)
    with pytest.raises(SystemExit) as left:
        trainer.train()
    assert left.value.code == EXIT_SAVED
    # The fit comes before the work of iteration 3, which is done again.
    assert [path.name for path in tmp_path.glob("model_*")] == ["model_0000002.pth"]
    again = build_trainer(cfg)
    again.resume_or_load(resume=True)
    assert again.start_iter == 3
    again.train()
    assert again.teacher is not None and (tmp_path / "model_final_teacher.pth").is_file()
