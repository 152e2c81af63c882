"""Results of an evaluation of tubes: AP by class and threshold, and failures of the published code."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from mestad_d2.errors import UserError
from mestad_d2.evaluation.tubes.precision import average_precision
from mestad_d2.evaluation.tubes.protocols import Rules


@dataclass(frozen=True)
class ClassAPs:
    """Average precision by class at one threshold, or its mean over several.

    Attributes:
        per_class: (C,) NaN for a class that is left out of the mean.
        error: how the published code fails on this input; None where it does not. The figures are then
            those of the documented rule (docs/tubes.md).
    """

    per_class: np.ndarray
    error: str | None = None

    @property
    def mean(self) -> float:
        """Mean over the classes that count, NaN without any."""
        good = self.per_class[~np.isnan(self.per_class)]
        return float(good.mean()) if len(good) else float("nan")


@dataclass(frozen=True)
class Judged:
    """Detections of one class at one threshold, best first.

    Attributes:
        rows: (n,) rows of the detections.
        claimed: (n,) row of the ground truth that each claims, -1 for a false positive.
        truths: number of ground truths.
    """

    rows: np.ndarray
    claimed: np.ndarray
    truths: int


@dataclass
class MapResult:
    """Mean average precision of tubes ("video") or of frames ("frame").

    Attributes:
        thresholds: by name ("0.5", "0.5:0.95").
        judged: by threshold name and class; only where a single threshold has the name.
        notes: one line each.
    """

    kind: str
    protocol: str
    rules: Rules
    classes: tuple[str, ...]
    thresholds: dict[str, ClassAPs] = field(default_factory=dict)
    judged: dict[str, dict[int, Judged]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_labels(label: np.ndarray, classes: tuple[str, ...], what: str) -> None:
    """Refuse classes outside the dataset.

    Raises:
        UserError: names the class.
    """
    if len(label) and int(label.max()) >= len(classes):
        raise UserError(
            f"{what}: class {int(label.max())} where the dataset has {len(classes)} classes, 0 to {len(classes) - 1}"
        )


def class_ap(judged: Judged, rules: Rules) -> float:
    """Compute the AP of one class, with the rules for classes without ground truth or detections."""
    if judged.truths:
        return average_precision(judged.claimed >= 0, judged.truths, rules)
    rule = rules.only_detections if len(judged.rows) else rules.absent
    return 0.0 if rule == "zero" else float("nan")


def with_names(
    result: MapResult, singles: dict[float, ClassAPs], names: dict[str, tuple[float, ...]]
) -> MapResult:
    """Fill ``result.thresholds``: each name gets the mean over its thresholds."""
    for name, values in names.items():
        parts = [singles[value] for value in values]
        errors = [part.error for part in parts if part.error]
        per_class = np.mean([part.per_class for part in parts], axis=0)
        result.thresholds[name] = ClassAPs(per_class, errors[0] if errors else None)
    return result
