"""Runs of a row: each in a process of its own, resumed where it was interrupted, never repeated."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode, get_cfg

from mestad_d2 import add_mestad_config
from mestad_d2.engine.reproduce.person_boxes import simulate_person_boxes
from mestad_d2.engine.reproduce.tables import Row, Table, row_config
from mestad_d2.engine.setup import setup_cfg
from mestad_d2.errors import UserError

TRAIN_NET = Path(__file__).resolve().parents[3] / "tools" / "train_net.py"


def flatten(cfg: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """``SECTION.KEY`` and value of all leaves of a config."""
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def setup_defaults() -> dict[str, Any]:
    """Leaves of a config before any file."""
    cfg = get_cfg()
    add_mestad_config(cfg)
    return dict(flatten(cfg))


@dataclass(frozen=True)
class Run:
    """One row with one seed.

    Attributes:
        folder: where the run writes.
        opts: config options ``KEY VALUE ...`` for every row of the table.
        burn_in: the run whose burn-in this one goes on from.
    """

    row: Row
    seed: int
    folder: Path
    config: dict
    opts: tuple[str, ...]
    burn_in: Run | None = None

    @property
    def key(self) -> str:
        """Changes when the row's config or the options do, so that an old result is not taken for a new one.

        Where the run writes is no part of it, and neither are keys at their defaults: a key that a later
        version adds makes no finished run unfinished.
        """
        default = setup_defaults()
        changed = {
            name: str(value)
            for name, value in flatten(setup_cfg(self.write_config(), self.options()))
            if name != "OUTPUT_DIR" and value != default.get(name)
        }
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:16]

    def options(self) -> list[str]:
        """All options of the run's command line."""
        cfg = setup_cfg(self.write_config(), self.opts)
        # The row whose burn-in others go on from leaves a checkpoint there.
        period = min(cfg.SEMISUP.BURN_IN_ITERS, cfg.SOLVER.CHECKPOINT_PERIOD)
        return [*self.opts, "SOLVER.CHECKPOINT_PERIOD", str(period), "SEED", str(self.seed)] + [
            "OUTPUT_DIR",
            str(self.folder),
        ]

    def write_config(self) -> Path:
        """The row's config as a file in its folder."""
        path = self.folder / "row.yaml"
        text = yaml.safe_dump(self.config, sort_keys=False)
        if not path.is_file() or path.read_text() != text:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return path

    def result(self) -> dict | None:
        """What the run found, if it is finished."""
        path = self.folder / "result.json"
        if not path.is_file():
            return None
        result = json.loads(path.read_text())
        return result if result["key"] == self.key else None


def plan(table: Table, dataset: str, seeds: int, output: Path, opts: Sequence[str] = ()) -> list[Run]:
    """All runs of a table, those that others wait for first."""
    runs, burnt = [], {}
    rows = sorted(table.rows, key=lambda row: row.name != table.burn_in_row)
    for row in rows:
        for seed in range(1, seeds + 1):
            folder = output / f"table{table.number}_{dataset}" / row.config.split("_", 1)[1] / f"seed{seed}"
            config = row_config(row, dataset, boxes_folder(output, dataset, opts))
            run = Run(row, seed, folder, config, tuple(opts), burnt.get(seed))
            if row.name == table.burn_in_row:
                burnt[seed] = run
            runs.append(run)
    return runs


def boxes_folder(output: Path, dataset: str, opts: Sequence[str]) -> Path | None:
    """Where a dataset's simulated person boxes lie; None on AVA, or where the options name files."""
    named = any(option.startswith("DATASETS.PERSON_BOXES") for option in opts)
    return None if dataset == "ava" or named else output.resolve() / f"person_boxes_{dataset}"


def simulate_boxes(runs: Sequence[Run]) -> None:
    """Write the person boxes that the runs' configs name and that are not there."""
    for run in runs:
        named = run.config.get("DATASETS", {})
        if named:
            datasets = setup_cfg(run.write_config(), run.opts).DATASETS
            for split in ("TRAIN", "TEST"):
                for name, path in zip(datasets[split], named[f"PERSON_BOXES_{split}"], strict=True):
                    simulate_person_boxes(name, Path(path))


def execute(run: Run) -> dict:
    """Train and evaluate a run unless its result is there; return the result.

    Raises:
        UserError: it failed; the message names its log.
    """
    done = run.result()
    if done is not None:
        return done
    clear_other_config(run)
    key = run.key
    if run.burn_in is not None:
        take_over_burn_in(run)
    log = run.folder / "run.log"
    command = [sys.executable, str(TRAIN_NET), "--config-file", str(run.folder / "row.yaml"), "--resume"]
    start = time.perf_counter()
    with log.open("a") as file:
        code = subprocess.run(
            [*command, *run.options()], stdout=file, stderr=subprocess.STDOUT, check=False
        ).returncode
    if code:
        raise UserError(f"{log}: the run ended with code {code}; its last lines say why")
    result = {"key": key, "seed": run.seed, "wall_seconds": round(time.perf_counter() - start, 1)}
    shared = 0 if run.burn_in is None else setup_cfg(run.write_config(), run.options()).SEMISUP.BURN_IN_ITERS
    result |= read_metrics(run.folder / "metrics.json", shared)
    aside = run.folder / "result.json.part"
    aside.write_text(json.dumps(result, indent=1) + "\n")
    aside.replace(run.folder / "result.json")
    return result


def clear_other_config(run: Run) -> None:
    """Remove a checkpoint's name that training by another config left, so that this one begins anew."""
    mark = run.folder / "key"
    if mark.is_file() and mark.read_text() != run.key:
        for name in ("last_checkpoint", "metrics.json", "result.json"):
            (run.folder / name).unlink(missing_ok=True)
    mark.write_text(run.key)


def take_over_burn_in(run: Run) -> None:
    """Put the checkpoint at the end of the shared burn-in into the run's folder, unless it has one.

    Raises:
        UserError: the run that should have left it did not.
    """
    if (run.folder / "last_checkpoint").is_file():
        return
    cfg = setup_cfg(run.folder / "row.yaml", run.options())
    name = f"model_{cfg.SEMISUP.BURN_IN_ITERS - 1:07d}.pth"
    if not (run.burn_in.folder / name).is_file():
        raise UserError(f"{run.burn_in.folder / name}: the burn-in is not there; did that run fail?")
    shutil.copyfile(run.burn_in.folder / name, run.folder / name)
    (run.folder / "last_checkpoint").write_text(name)


def read_metrics(path: Path, first: int = 0) -> dict:
    """Figures of a finished run, whose first own iteration is ``first``, from its ``metrics.json``.

    Figures are in percent, times in seconds.

    ``frame_map`` and ``person_ap50`` are the final model's (the teacher's where there is one),
    ``student_frame_map`` the student's; ``pseudo`` holds means over the teacher phase.
    """
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    final = next((line for line in reversed(lines) if "frame_map/mAP" in line), None)
    if final is None:
        raise UserError(f"{path}: no evaluation in it")
    times = [line["time"] for line in lines if "time" in line]
    seconds = statistics.mean(times) * (final["iteration"] - first) if times else float("nan")
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
