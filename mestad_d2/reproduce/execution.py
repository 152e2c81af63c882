"""Execute a run in a process of its own; interrupted runs are resumed, finished ones not repeated."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from mestad_d2.errors import UserError
from mestad_d2.formats.files import write_json
from mestad_d2.load_config import setup_cfg
from mestad_d2.reproduce.runs import Run

_EVALUATED = re.compile(r"Total inference time: (\d+):(\d\d):(\d\d(?:\.\d+)?) ")
TRAIN_NET = Path(__file__).resolve().parents[2] / "tools" / "train_net.py"


def execute(run: Run) -> dict:
    """Train and evaluate a run unless its result is there; return the result.

    Raises:
        UserError: it failed; the message names its log.
    """
    done = run.result()
    if done is not None:
        return done
    clear_other_config(run)
    twin = find_twin(run)
    if twin is not None:
        return take_over_result(run, twin)
    key = run.key
    if run.burn_in is not None:
        take_over_burn_in(run)
    if run.trained_by is not None:
        check_same_options(run.trained_by)
        copy_checkpoint(run.trained_by.folder, run.folder)
    log = run.folder / "run.log"
    # A row that goes on from another's burn-in differs from it on purpose.
    flags = ["--accept-changes", "--resume"]
    command = [sys.executable, str(TRAIN_NET), "--config-file", str(run.folder / "row.yaml"), *flags]
    with log.open("a") as file:
        code = subprocess.run(
            [*command, *run.options()], stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        raise UserError(f"{log}: the run ended with code {code}; its last lines say why")
    result = {"key": key, "seed": run.seed}
    cfg = setup_cfg(run.write_config(), run.options())
    shared = 0 if run.burn_in is None else cfg.SEMISUP.BURN_IN_ITERS
    result |= read_metrics(run.folder / "metrics.json", shared)
    # An evaluation after the end counts as one more.
    result["iterations"] = min(result["iterations"], cfg.SOLVER.MAX_ITER)
    if run.trained_by is not None:
        # Shared training counts for both.
        result["train_seconds"] = json.loads((run.trained_by.folder / "result.json").read_text())[
            "train_seconds"
        ]
    write_result(run, result)
    return result


def write_result(run: Run, result: dict) -> None:
    """Write the result file atomically."""
    write_json(run.folder / "result.json", result)


def find_twin(run: Run) -> Path | None:
    """Find a finished run of another table with the same config, options and seed."""
    for path in sorted(run.folder.parents[2].glob("table*/*/seed*/result.json")):
        if json.loads(path.read_text())["key"] == run.key:
            return path.parent
    return None


def take_over_result(run: Run, twin: Path) -> dict:
    """Copy result, final checkpoint and the one at the end of burn-in, if any, from a run's twin."""
    copy_checkpoint(twin, run.folder)
    for name in ("metrics.json", "run.log", burn_in_checkpoint(run).name):
        if (twin / name).is_file():
            shutil.copyfile(twin / name, run.folder / name)
    result = json.loads((twin / "result.json").read_text())
    write_result(run, result)
    return result


def copy_checkpoint(source: Path, target: Path) -> None:
    """Put the last checkpoint of the folder ``source`` into ``target``, where ``--resume`` finds it.

    Raises:
        UserError: there is none.
    """
    mark = source / "last_checkpoint"
    if not mark.is_file():
        raise UserError(f"{mark}: the trained model is not there; did that run fail?")
    _put_checkpoint(source / mark.read_text(), target)


def _put_checkpoint(file: Path, target: Path) -> None:
    shutil.copyfile(file, target / file.name)
    (target / "last_checkpoint").write_text(file.name)


def clear_other_config(run: Run) -> None:
    """Remove the checkpoint marker of a training with another config, so that this one starts anew."""
    mark = run.folder / "key"
    if mark.is_file() and mark.read_text() != run.key:
        for name in ("last_checkpoint", "metrics.json", "result.json"):
            (run.folder / name).unlink(missing_ok=True)
    mark.write_text(run.key)


def check_same_options(run: Run) -> None:
    """Check that a run's folder was trained with its config and options.

    Raises:
        UserError: it was not, or there is nothing.
    """
    mark = run.folder / "key"
    if not mark.is_file() or mark.read_text() != run.key:
        raise UserError(
            f"{run.folder / 'last_checkpoint'}: '{run.row.name}', seed {run.seed}, whose training this row shares, "
            "is not trained with these options; name it in --rows too"
        )


def burn_in_checkpoint(run: Run) -> Path:
    """Return the checkpoint at the end of a run's burn-in."""
    cfg = setup_cfg(run.write_config(), run.options())
    return run.folder / f"model_{cfg.SEMISUP.BURN_IN_ITERS - 1:07d}.pth"


def take_over_burn_in(run: Run) -> None:
    """Put the checkpoint at the end of the shared burn-in into the run's folder, unless it has one.

    Raises:
        UserError: the run that should have left it did not.
    """
    if (run.folder / "last_checkpoint").is_file():
        return
    check_same_options(run.burn_in)
    file = burn_in_checkpoint(run.burn_in)
    if not file.is_file():
        raise UserError(f"{file}: the burn-in is not there; did that run fail?")
    _put_checkpoint(file, run.folder)


def test_seconds(log: Path) -> float | None:
    """Return the seconds of the last evaluation from detectron2's log line; None where there is none."""
    found = _EVALUATED.findall(log.read_text(errors="replace")) if log.is_file() else []
    if not found:
        return None
    hours, minutes, seconds = found[-1]
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)


def read_metrics(path: Path, first: int = 0) -> dict:
    """Read the figures of a finished run, whose first own iteration is ``first``, from its ``metrics.json``.

    Figures are in percent, times in seconds.

    ``frame_map`` and ``person_ap50`` are the final model's (the teacher's where there is one),
    ``student_frame_map`` the student's; ``pseudo`` holds means over the teacher phase.

    Raises:
        UserError: the run was never evaluated.
    """
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    final = next((line for line in reversed(lines) if "frame_map/mAP" in line), None)
    if final is None:
        raise UserError(f"{path}: no evaluation in it")
    times = [line["time"] for line in lines if "time" in line]
    seconds = statistics.mean(times) * (final["iteration"] - first) if times else 0.0
    result = {
        "frame_map": final["frame_map/mAP"],
        "person_ap50": final.get("person/AP50"),
        "iterations": final["iteration"],
        "train_seconds": round(seconds, 1),
    }
    if "student/frame_map/mAP" in final:
        result["student_frame_map"] = final["student/frame_map/mAP"]
    names = sorted({name for line in lines for name in line if name.startswith("pseudo/")})
    if names:
        result["pseudo"] = {
            name.split("/")[1]: statistics.mean(line[name] for line in lines if name in line)
            for name in names
        }
    return result
