"""Signals at any time: before training, and while the teacher's labeler is fitted, nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from reliability.runs import wait_until_heeded
from tiny import CONFIG, ROOT, tiny_cfg

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
