"""Tables and curves of the strict comparison, from the file of its results."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from mestad_d2.formats.files import atomic_path, write_text
from mestad_d2.reproduce.strict.data import CONDITIONS
from mestad_d2.reproduce.strict.rows import ROWS
from mestad_d2.reproduce.strict.schedule import read_results
from mestad_d2.reproduce.strict.statistics import Difference, half_interval, paired

# By seed and burnt-in checkpoint, so that rows are paired only where they go on from the same weights.
Figures = dict[tuple[int, str], float]
# Rows whose students are the plain network: they have no teacher phase of their own.
PLAIN = {key for key, row in ROWS.items() if row.labeler == "EMA" or row.after}


def figures(results: Sequence[dict], condition: str, row: str, name: str) -> Figures:
    """Return a figure of a row by seed and checkpoint; ``name`` as in a result, such as "teacher_test_map"."""
    return {
        (r["seed"], r.get("checkpoint", "")): r[name]
        for r in results
        if r["condition"] == condition and r["row"] == row and r.get(name) is not None
    }


def final(row: str, split: str = "test") -> str:
    """Name of a row's main figure: the plain network's where there is no teacher phase, else the teacher's."""
    return f"{'student' if row in PLAIN else 'teacher'}_{split}_map"


def _cell(values: Figures, form: str = "{:.2f}") -> str:
    if not values:
        return "-"
    half = half_interval(list(values.values()))
    return form.format(statistics.mean(values.values())) + ("" if half != half else f" ± {half:.2f}")


def _mean(values: Figures, form: str) -> str:
    return form.format(statistics.mean(values.values())) if values else "-"


def main_table(results: Sequence[dict], condition: str = "toy") -> str:
    """Format all rows of a condition as Markdown, each against "None" and against twice the labelled clips."""
    head = ["row", "mAP", "to None", "to twice the clips", "to TLA", "student's mAP", "person AP50", "seeds",
            "passes", "seconds", "label sets right"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    lines += _line(results, condition, "none", "EMA of None", "teacher_test_map", main=False)
    for key, row in ROWS.items():
        lines += _line(results, condition, key, row.name.replace("None / EMA", "None"), final(key))
    lines += _line(
        results, condition, "none_x2", "EMA of twice the labelled clips", "teacher_test_map", main=False
    )
    return "\n".join(lines)


def _line(
    results: Sequence[dict], condition: str, key: str, name: str, figure: str, main: bool = True
) -> list[str]:
    own = figures(results, condition, key, figure)
    if not own:
        return []
    restarted = "_restart" if key.endswith("_restart") else ""
    cells = [name, _cell(own)]
    for other in ("none", "none_x2", "tla"):
        reference = other + restarted
        difference = paired(own, figures(results, condition, reference, final(reference)))
        cells.append(str(difference) if difference and (key, main) != (reference, True) else "-")
    student = {} if key in PLAIN else figures(results, condition, key, "student_test_map")
    cells += [
        _cell(student),
        _mean(figures(results, condition, key, figure.replace("map", "person")), "{:.1f}"),
    ]
    seconds = figures(results, condition, key, "train_seconds")
    # On a CPU that other work shares, only its own time compares.
    cpu = figures([r for r in results if r.get("device") == "cpu"], condition, key, "train_cpu_seconds")
    cells += [str(len(own)), passes(results, condition, key)]
    cells.append(_mean(seconds, "{:.0f}") + (f" ({_mean(cpu, '{:.0f}')} of CPU)" if cpu else ""))
    cells.append(_mean(figures(results, condition, key, "pseudo/exact"), "{:.3f}"))
    return [f"| {' | '.join(cells)} |"]


def passes(results: Sequence[dict], condition: str, key: str) -> str:
    """Return the clips processed in a row's training, as a multiple of those of "None"."""
    own, none = (
        sum(statistics.mean(part.values()) for name in ("student_clips", "teacher_clips")
            if (part := figures(results, condition, row, name)))
        for row in (key, "none")
    )  # fmt: skip
    return f"{own / none:.2f}" if none else "-"


def restart_table(results: Sequence[dict], condition: str) -> str:
    """Format rows with a restarted schedule against the same rows on one cosine, as Markdown; "" without any."""
    lines = []
    for key, row in ROWS.items():
        name = final(key)
        cosine = figures(results, condition, key.removesuffix("_restart"), name)
        own = figures(results, condition, key, name)
        if row.restart and (difference := paired(own, cosine)):
            shared = own.keys() & cosine.keys()
            one, restarted = ({k: part[k] for k in shared} for part in (cosine, own))
            lines.append(
                f"| {row.name.removesuffix(', restarted')} | {_cell(one)} | {_cell(restarted)} | {difference} | "
                f"{difference.seeds} |"
            )
    head = ["| row | one cosine: mAP | restarted: mAP | difference | seeds |", "|" + "---|" * 5]
    return "\n".join(head + lines) if lines else ""


# What stands in the curves, each against twice the labelled clips.
CURVE_ROWS = ("tla", "dense", "nearest", "oracle_boxes", "oracle_labels", "oracle_both")


def curve_table(results: Sequence[dict], conditions: Mapping[str, dict]) -> str:
    """Format gains under other gaps, durations and label errors as Markdown.

    Args:
        conditions: facts of each, such as ``unchanged_after_half``.
    """
    rows = [key for key in CURVE_ROWS if any(r["row"] == key and r["condition"] != "toy" for r in results)]
    head = ["data", "label sets that hold halfway", "twice the labelled clips", *(ROWS[key].name for key in rows),
            "label sets right: TLA"]  # fmt: skip
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for condition, facts in conditions.items():
        twice = figures(results, condition, "none_x2", final("none_x2"))
        gains = [paired(figures(results, condition, key, final(key)), twice) for key in rows]
        if not any(gains):
            continue
        halfway = facts.get("unchanged_after_half")
        cells = [CONDITIONS[condition].title, "-" if halfway is None else f"{halfway:.2f}", _cell(twice)]
        cells += [f"{gain} ({gain.seeds})" if gain else "-" for gain in gains]
        cells.append(_mean(figures(results, condition, "tla", "pseudo/exact"), "{:.3f}"))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw_curves(results: Sequence[dict], conditions: Mapping[str, dict], path: Path) -> None:
    """Draw gains of TLA, DenseTLA and true labels over twice the labelled clips; data whose labels hold longest on top."""
    from matplotlib.figure import Figure

    found: dict[str, dict[str, Difference]] = {}
    for condition, facts in sorted(conditions.items(), key=lambda item: item[1]["unchanged_after_half"] or 0):
        twice = figures(results, condition, "none_x2", final("none_x2"))
        gains = {
            key: gain
            for key in ("tla", "dense", "oracle_both")
            if (gain := paired(figures(results, condition, key, final(key)), twice))
        }
        if not facts.get("real") and "tla" in gains:
            found[condition] = gains
    if not found:
        return
    figure = Figure(figsize=(7.5, 1.2 + 0.5 * len(found)), layout="constrained")
    axes = figure.subplots()
    for key, shift, marker, color in (("tla", -0.15, "o", "#3b7dd8"), ("dense", 0.0, "s", "#2f9e6e"),
                                      ("oracle_both", 0.15, "^", "#d87f3b")):  # fmt: skip
        points = [(row + shift, gains[key]) for row, gains in enumerate(found.values()) if key in gains]
        if points:
            axes.errorbar([g.mean for _, g in points], [y for y, _ in points], xerr=[g.half for _, g in points],
                          fmt=marker, color=color, capsize=3, label=ROWS[key].name)  # fmt: skip
    names = [f"{CONDITIONS[name].title} ({gains['tla'].seeds} seed{'s' * (gains['tla'].seeds > 1)}): "
             f"{conditions[name]['unchanged_after_half']:.2f} hold halfway" for name, gains in found.items()]  # fmt: skip
    axes.set_yticks(range(len(found)), names, fontsize=8)
    axes.set_ylim(-0.5, len(found) - 0.5)
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set_xlabel("points of frame-mAP over twice the labelled clips\n95 % intervals; one seed has none",
                    fontsize=8)  # fmt: skip
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    with atomic_path(path, keep_suffix=True) as aside:
        figure.savefig(aside, dpi=120)


def dev_table(results: Sequence[dict], rows: Sequence[str]) -> str:
    """Format figures on the third split of videos, which is used for choices."""
    lines = ["| row | mAP on the third split | to TLA | seeds |", "|---|---|---|---|"]
    tla = figures(results, "toy", "tla", final("tla", "dev"))
    for key in rows:
        own = figures(results, "toy", key, final(key, "dev"))
        if own:
            lines.append(f"| {ROWS[key].name} | {_cell(own)} | {paired(own, tla) or '-'} | {len(own)} |")
    return "\n".join(lines)


def draw_differences(results: Sequence[dict], path: Path, condition: str = "toy") -> None:
    """Draw each row's gain over "None" with its 95 % interval, rows of at least three seeds."""
    from matplotlib.figure import Figure

    none = figures(results, condition, "none", final("none"))
    found = []
    for key, row in ROWS.items():
        difference = paired(figures(results, condition, key, final(key)), none)
        if key != "none" and difference is not None and difference.seeds >= 3 and not row.restart:
            found.append((row.name.replace("None / EMA", "None"), difference))
    if not found:
        return
    figure = Figure(figsize=(7, 0.8 + 0.36 * len(found)), layout="constrained")
    axes = figure.subplots()
    places = range(len(found))
    axes.errorbar([d.mean for _, d in found], places, xerr=[d.half for _, d in found], fmt="o", color="#3b7dd8",
                  capsize=3)  # fmt: skip
    axes.axvline(0, color="0.6", linewidth=1)
    axes.set_yticks(places, [name for name, _ in found], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(f"frame-mAP on {condition}: points over None, with 95 % intervals over seeds")
    with atomic_path(path, keep_suffix=True) as aside:
        figure.savefig(aside, dpi=120)


def write_report(output: Path) -> str:
    """Write ``strict.md`` and its pictures beside ``strict.jsonl``; return the text."""
    results = read_results(output / "strict.jsonl")
    facts = json.loads((output / "strict.json").read_text())
    conditions = facts.get("conditions", {})
    total = sum(r["seconds"] for r in results)
    parts = [
        f"{len(results)} runs on {facts['device']}, {facts['jobs']} at a time, {total / 3600:.2f} hours of "
        f"processes in all; burn-in {facts['burn_in']} iterations, rows {facts['iterations']}. mAP in percent; "
        "± and brackets are 95 % intervals over seeds, differences seed by seed. Passes: clips that go through "
        "a network in training, the teacher's too, None = 1."
    ]
    for condition in CONDITIONS:
        if any(r["condition"] == condition and r["row"] for r in results):
            parts += [f"{condition}:", main_table(results, condition)]
            if restarts := restart_table(results, condition):
                parts += [f"{condition}, restarted against one cosine:", restarts]
    if any(r["condition"] == "toy" for r in results):
        rows = ["none", "none_x2", "tla", *facts["best"]]
        parts += ["On the third split of videos:", dev_table(results, rows)]
    if any(r["condition"] != "toy" for r in results):
        # In the order of their list, whatever was run first.
        conditions = {name: conditions[name] for name in CONDITIONS if name in conditions}
        parts += ["Gains over twice the labelled clips (seeds):", curve_table(results, conditions)]
        draw_curves(results, conditions, output / "strict_curves.png")
    text = "\n\n".join(parts) + "\n"
    write_text(output / "strict.md", text)
    draw_differences(results, output / "strict.png")
    return text
