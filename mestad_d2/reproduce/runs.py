"""The runs of a table: each row with each seed, with its folder, config and options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode, get_cfg

from mestad_d2 import add_mestad_config
from mestad_d2.load_config import setup_cfg
from mestad_d2.reproduce.person_boxes import simulate_person_boxes
from mestad_d2.reproduce.tables import Row, Table, row_config


def flatten(cfg: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Return ``SECTION.KEY`` and value of all leaves of a config."""
    for name, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def setup_defaults() -> dict[str, Any]:
    """Return the leaves of a config before any file."""
    cfg = get_cfg()
    add_mestad_config(cfg)
    return dict(flatten(cfg))


@dataclass(frozen=True)
class Run:
    """One row with one seed.

    Attributes:
        folder: where the run writes.
        opts: config options ``KEY VALUE ...`` for every row of the table.
        burn_in: the run whose burn-in this one continues.
        trained_by: the run whose final model this one tests.
    """

    row: Row
    seed: int
    folder: Path
    config: dict
    opts: tuple[str, ...]
    burn_in: Run | None = None
    trained_by: Run | None = None

    @property
    def waits(self) -> bool:
        """Whether another run has to end first."""
        return self.burn_in is not None or self.trained_by is not None

    @property
    def key(self) -> str:
        """A key that changes with the row's config and the options, so that old results are not reused.

        Output paths are not part of it, nor are keys at their defaults, so that config keys of later versions
        do not invalidate finished runs.
        """
        default = setup_defaults()
        changed = {
            name: str(value)
            for name, value in flatten(setup_cfg(self.write_config(), self.options()))
            if name != "OUTPUT_DIR" and value != default.get(name)
        }
        return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:16]

    def options(self) -> list[str]:
        """Return all options of the run's command line."""
        cfg = setup_cfg(self.write_config(), self.opts)
        # The row whose burn-in others continue writes a checkpoint there.
        period = min(cfg.SEMISUP.BURN_IN_ITERS, cfg.SOLVER.CHECKPOINT_PERIOD)
        return [*self.opts, "SOLVER.CHECKPOINT_PERIOD", str(period), "SEED", str(self.seed)] + [
            "OUTPUT_DIR",
            str(self.folder),
        ]

    def write_config(self) -> Path:
        """Write the row's config to a file in its folder."""
        path = self.folder / "row.yaml"
        text = yaml.safe_dump(self.config, sort_keys=False)
        if not path.is_file() or path.read_text() != text:
            self.folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return path

    def result(self) -> dict | None:
        """Return the run's result if it is finished."""
        path = self.folder / "result.json"
        if not path.is_file():
            return None
        result = json.loads(path.read_text())
        return result if result["key"] == self.key else None


def plan(table: Table, dataset: str, seeds: int, output: Path, opts: Sequence[str] = ()) -> list[Run]:
    """Return all runs of a table, prerequisites first."""
    made: dict[tuple[str, int], Run] = {}
    for row in sorted(table.rows, key=lambda row: bool(row.burn_in or row.trained_by)):
        for seed in range(1, seeds + 1):
            folder = output / f"table{table.number}_{dataset}" / row.config.split("/", 1)[1] / f"seed{seed}"
            config = row_config(row, dataset, boxes_folder(output, dataset, opts))
            before = [made.get((name, seed)) if name else None for name in (row.burn_in, row.trained_by)]
            made[row.config, seed] = Run(row, seed, folder, config, tuple(opts), *before)
    return list(made.values())


def boxes_folder(output: Path, dataset: str, opts: Sequence[str]) -> Path | None:
    """Return the folder of a dataset's simulated person boxes; None on AVA, or where the options name files."""
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
