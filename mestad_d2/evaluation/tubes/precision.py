"""Precision, recall and the area under their curve."""

from __future__ import annotations

import numpy as np

from mestad_d2.evaluation.tubes.protocols import Rules


def average_precision(hits: np.ndarray, truths: int, rules: Rules) -> float:
    """Compute the area under the precision envelope over recall (VOC, all points).

    Args:
        hits: (n,) bool, in the order of their scores, best first.
        truths: number of ground truths, above 0.
    """
    if rules.curve == "voc":
        # The envelope and the steps of recall are at the true ones.
        at = np.flatnonzero(hits)
        precision = np.arange(1, len(at) + 1) / (at + 1)
        return float(np.maximum.accumulate(precision[::-1]).sum() / (truths + rules.recall_epsilon))
    precision, recall = curve(hits, truths, rules)
    return area(precision, recall, rules)


def curve(hits: np.ndarray, truths: int, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """Compute precision and recall after each detection, (n,) float64."""
    true = np.cumsum(hits)
    return true / np.arange(1, len(hits) + 1), true / (truths + rules.recall_epsilon)


def area(values: np.ndarray, recall: np.ndarray, rules: Rules, start: float = 1.0) -> float:
    """Integrate ``values`` (n,) over ``recall`` (n,).

    Args:
        start: the value at recall 0, which only the trapezoid has.
    """
    if not len(values):
        return 0.0
    if rules.curve == "trapezoid":
        v = np.concatenate([[start], values]).astype(np.float32)
        r = np.concatenate([[0.0], recall]).astype(np.float32)
        return float(np.sum(np.diff(r) * (v[1:] + v[:-1]) * np.float32(0.5)))
    envelope = np.maximum.accumulate(values[::-1])[::-1]
    return float(np.sum(np.diff(np.concatenate([[0.0], recall])) * envelope))
