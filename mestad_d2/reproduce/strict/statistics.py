"""Paired differences over seeds with their 95 % intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.stats import t as student_t


@dataclass(frozen=True)
class Difference:
    """Mean difference over ``seeds`` seeds; ``half`` is half the 95 % interval (NaN with one seed)."""

    mean: float
    half: float
    seeds: int

    def __str__(self) -> str:
        if math.isnan(self.half):
            return f"{self.mean:+.2f} (one seed)"
        return f"{self.mean:+.2f} [{self.mean - self.half:+.2f}, {self.mean + self.half:+.2f}]"


def half_interval(values: Sequence[float]) -> float:
    """Compute half of the 95 % interval of a mean by Student's t; NaN with fewer than two values."""
    if len(values) < 2:
        return float("nan")
    error = statistics.stdev(values) / math.sqrt(len(values))
    return float(student_t.ppf(0.975, len(values) - 1)) * error


def paired(own: Mapping[Any, float], other: Mapping[Any, float]) -> Difference | None:
    """Compare two rows' figures by seed (any key), over the seeds that both have; None without one."""
    values = [own[seed] - other[seed] for seed in sorted(own.keys() & other.keys())]
    if not values:
        return None
    return Difference(statistics.mean(values), half_interval(values), len(values))
