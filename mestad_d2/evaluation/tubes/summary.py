"""Figures of tubes as plain JSON and as a table to read."""

from __future__ import annotations

import math
from typing import Any

from tabulate import tabulate

from mestad_d2.evaluation.report.tables import none_if_nan
from mestad_d2.evaluation.tubes.result import ClassAPs, MapResult


def aps_json(aps: ClassAPs) -> dict[str, Any]:
    """Return ``{"mean": x, "per_class": {"0": x or None}}``, fractions; "error" where the published code fails."""
    content: dict[str, Any] = {
        "mean": none_if_nan(aps.mean),
        "per_class": {str(c): none_if_nan(float(ap)) for c, ap in enumerate(aps.per_class)},
    }
    if aps.error:
        content["error"] = aps.error
    return content


def map_json(result: MapResult) -> dict[str, Any]:
    """Return ``{"0.5": {"mean", "per_class"}, ...}`` by threshold."""
    return {name: aps_json(aps) for name, aps in result.thresholds.items()}


def table(results: list[MapResult], truths: dict[int, int]) -> str:
    """Format a per-class table in percent: a column per result and threshold, classes of ``results[0]``.

    Args:
        truths: number of ground-truth tubes by class.
    """
    columns = [(f"{r.kind}@{name}", aps) for r in results for name, aps in r.thresholds.items()]
    classes = results[0].classes
    rows = [
        [name, truths.get(c, 0), *(_percent(float(aps.per_class[c])) for _, aps in columns)]
        for c, name in enumerate(classes)
        if truths.get(c, 0) or any(not math.isnan(aps.per_class[c]) for _, aps in columns)
    ]
    rows.append(["mean", sum(truths.values()), *(_percent(aps.mean) for _, aps in columns)])
    head = ["class", "tubes", *(name for name, _ in columns)]
    return tabulate(rows, headers=head, tablefmt="pipe", disable_numparse=True)


def published_failures(results: list[MapResult]) -> list[str]:
    """List how the published code would have failed on these files, one line each."""
    failures = {
        (r.protocol, r.kind, aps.error): None for r in results for aps in r.thresholds.values() if aps.error
    }
    return [
        f"the published code of {protocol} fails on these {'tubes' if kind == 'video' else 'frames'} ({error}); the "
        "figures are those of the rule in docs/tubes.md"
        for protocol, kind, error in failures
    ]


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"
