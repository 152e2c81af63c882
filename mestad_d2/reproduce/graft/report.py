"""Tables of the graft experiment's figures, in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

NAMES = {
    "two_stage": "two stages, simulated detector",
    "graft": "graft",
    "graft_wide": "graft, wider head and finer pyramid",
    "graft_path": "graft, with a key-frame path",
}


def table(figures: Mapping[str, Any]) -> str:
    """Write frame-mAP, its ratio to the two-stage model's seed by seed, and person AP50 of every dataset.

    Args:
        figures: what ``scripts/graft_experiment.py`` writes; runs without a part are left out of its row.
    """
    lines = [
        "| dataset | model | seeds | frame-mAP | ratio, each seed | person AP50 |",
        "|---|---|---|---|---|---|",
    ]
    for dataset in dict.fromkeys(run["dataset"] for run in figures["runs"]):
        for part, name in NAMES.items():
            runs = [run for run in figures["runs"] if run["dataset"] == dataset and f"{part}_map" in run]
            if not runs:
                continue
            ratios = ["1"] if part == "two_stage" else [f"{run[f'{part}_ratio']:.3f}" for run in runs]
            maps, persons = ([run[f"{part}_{figure}"] for run in runs] for figure in ("map", "person"))
            lines.append(
                f"| {dataset} | {name} | {len(runs)} | {_mean(maps)} | {', '.join(ratios)} | {_mean(persons)} |"
            )
    return "\n".join(lines) + "\n"


def _mean(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({', '.join(f'{value:.1f}' for value in values)})"
