"""A table of results as Markdown, json and a bar picture."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from mestad_d2.analysis.cost import cost_of_config
from mestad_d2.errors import UserError
from mestad_d2.formats.files import atomic_path, write_json, write_text
from mestad_d2.load_config import setup_cfg
from mestad_d2.reproduce.execution import test_seconds
from mestad_d2.reproduce.runs import Run
from mestad_d2.reproduce.tables import Table

PSEUDO_COLUMNS = ("on_people", "exact", "exact_thresholded", "precision", "recall")


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Compute the mean and its standard error; the error of one value is NaN."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else float("nan")
    return statistics.mean(values), error


def gflops(run: Run) -> float | None:
    """Return GFLOPs of the row's model at its test size, one multiply-add as 1; None if the head can't be counted."""
    cfg = setup_cfg(run.write_config(), run.opts)
    try:
        return cost_of_config(cfg, cfg.INPUT.MIN_SIZE_TEST)["total_gflops"]
    except UserError:
        return None


def paired_difference(own: dict[int, dict], other: dict[int, dict]) -> tuple[float, float] | None:
    """Compute the mean of own minus other frame-mAP over the seeds that both finished, and its standard error.

    Results are given by seed.

    Seeds affect all rows alike, so this is more precise than the difference of two means. None without such a seed.
    """
    differences = [
        own[seed]["frame_map"] - other[seed]["frame_map"] for seed in sorted(own.keys() & other.keys())
    ]
    return mean_and_error(differences) if differences else None


def summarise(table: Table, runs: Sequence[Run]) -> list[dict]:
    """Return one dict per row: figures over the finished seeds, and the number of unfinished ones."""
    # Each is asked once, as checking a result builds the run's config.
    found = [(run, result) for run in runs if (result := run.result()) is not None]
    by_seed = {
        row.config: {run.seed: result for run, result in found if run.row == row} for row in table.rows
    }
    summary = []
    for row in table.rows:
        own = [run for run in runs if run.row == row]
        results = list(by_seed[row.config].values())
        line = {"row": row.name, "config": row.config, "paper_map": row.paper_map, "seeds": len(results)}
        line |= {"missing": len(own) - len(results), "paper_gflops": row.paper_gflops}
        if results:
            line["map"], error = mean_and_error([result["frame_map"] for result in results])
            # json has no NaN.
            line["map_error"] = None if math.isnan(error) else error
            for name in ("person_ap50", "train_seconds", "iterations"):
                line[name] = statistics.mean(result[name] for result in results)
            seconds = [test_seconds(run.folder / "run.log") for run, _ in found if run.row == row]
            line["test_seconds"] = None if None in seconds else statistics.mean(seconds)
            line["gflops"] = gflops(own[0])
            against = row.against or table.reference
            difference = paired_difference(by_seed[row.config], by_seed[against])
            if difference is not None and against != row.config:
                line["difference"], error = difference
                line["difference_error"] = None if math.isnan(error) else error
            line["values"] = [result["frame_map"] for result in results]
            if all("student_frame_map" in result for result in results):
                line["student_map"] = statistics.mean(result["student_frame_map"] for result in results)
            for name in PSEUDO_COLUMNS:
                if all(name in result.get("pseudo", {}) for result in results):
                    line[name] = statistics.mean(result["pseudo"][name] for result in results)
        summary.append(line)
    return summary


def _cell(line: dict, name: str, form: str = "{:.1f}") -> str:
    return form.format(line[name]) if line.get(name) is not None else "-"


def _with_error(line: dict, name: str, form: str) -> str:
    error = line.get(f"{name}_error")
    return _cell(line, name, form) + ("" if error is None else f" ± {error:.2f}")


def markdown(table: Table, dataset: str, summary: Sequence[dict], command: str) -> str:
    """Format the table as Markdown, with the command that made it."""
    pseudo = any("exact" in line for line in summary)
    head = ["row", "paper: mAP on AVA", f"here: mAP on {dataset}", "difference by seed", "person AP50",
            "seeds"]  # fmt: skip
    head += ["paper: GFLOPs", "here: GFLOPs", "training, s", "testing, s"]
    if pseudo:
        head += ["student's mAP", "boxes on people", "label sets right", "teacher's own above 0.5",
                 "precision", "recall"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for line in summary:
        cells = [
            line["row"],
            _cell(line, "paper_map"),
            _with_error(line, "map", "{:.2f}"),
            _with_error(line, "difference", "{:+.2f}"),
            _cell(line, "person_ap50"),
            str(line["seeds"]),
        ]
        cells += [
            _cell(line, "paper_gflops"),
            _cell(line, "gflops", "{:.3g}"),
            _cell(line, "train_seconds", "{:.0f}"),
        ]
        cells += [_cell(line, "test_seconds", "{:.1f}")]
        if pseudo:
            cells.append(_cell(line, "student_map", "{:.2f}"))
            cells += [_cell(line, name, "{:.3f}") for name in PSEUDO_COLUMNS]
        lines.append(f"| {' | '.join(cells)} |")
    title = f"## Table {table.number}: {table.title} ({dataset})"
    notes = [
        "mAP in percent: mean over seeds ± standard error. GFLOPs here are those of the model that was run."
    ]
    names = {row.config: row.name for row in table.rows}
    against = [row.against or table.reference for row in table.rows]
    notes.append(
        f"Differences are to {' and '.join(repr(names[config]) for config in dict.fromkeys(against))}, "
        "seed by seed: mean ± standard error."
    )
    if dataset != "ava" and any(row.needs_boxes for row in table.rows):
        notes.append("Proposals are simulated: ground truth with a good detector's faults.")
    for first in dict.fromkeys(row.burn_in for row in table.rows if row.burn_in):
        others = ", ".join(row.name for row in table.rows if row.burn_in == first)
        notes.append(
            f"{names[first]!r} trained from the start; training of {others} begins after its burn-in."
        )
    notes += [
        f"{row.name!r} tests the models of {names[row.trained_by]!r}." for row in table.rows if row.trained_by
    ]
    notes += [f"Not run, the paper cites it: {text}." for text in table.cited]
    return "\n".join([title, "", "```bash", command, "```", "", *lines, "", " ".join(notes), ""])


def draw(table: Table, dataset: str, summary: Sequence[dict], path: Path) -> None:
    """Draw bars of our results with standard errors and the paper's figures as numbers beside them."""
    from matplotlib.figure import Figure

    lines = [line for line in summary if "map" in line]
    figure = Figure(figsize=(7, 0.6 + 0.5 * len(lines)), layout="constrained")
    axes = figure.subplots()
    errors = [line["map_error"] or 0.0 for line in lines]
    axes.barh(range(len(lines)), [line["map"] for line in lines], xerr=errors, color="#3b7dd8", capsize=3)
    names = [f"{line['row']} (AVA in the paper: {_cell(line, 'paper_map')})" for line in lines]
    axes.set_yticks(range(len(lines)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"frame-mAP on {dataset}, percent")
    axes.set_title(f"Table {table.number}: {table.title}", fontsize=10)
    with atomic_path(path, keep_suffix=True) as aside:
        figure.savefig(aside, dpi=120)


def write(table: Table, dataset: str, runs: Sequence[Run], folder: Path, command: str) -> str:
    """Write ``tableN_dataset.{md,json,png}`` into ``folder``; return the Markdown."""
    summary = summarise(table, runs)
    text = markdown(table, dataset, summary, command)
    stem = f"table{table.number}_{dataset}"
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{stem}.md", text)
    content = {"table": table.number, "dataset": dataset, "command": command, "rows": summary}
    write_json(folder / f"{stem}.json", content)
    if any("map" in line for line in summary):
        draw(table, dataset, summary, folder / f"{stem}.png")
    return text
