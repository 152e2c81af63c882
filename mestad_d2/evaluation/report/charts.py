"""Small charts as SVG text: precision over recall, and histograms of scores."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT, PAD = 220, 120, 24
_MAX_POINTS = 150


def precision_recall_svg(precision: np.ndarray, recall: np.ndarray) -> Markup:
    """Draw the curve of one class and the area under its envelope; (n,) arrays in ranked order."""
    if not len(precision):
        return _frame("recall", '<text class="none" x="50%" y="45%">no detections</text>')
    pick = np.unique(np.linspace(0, len(precision) - 1, min(len(precision), _MAX_POINTS)).astype(int))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    x = PAD + recall[pick] * (WIDTH - PAD - 6)
    curve = " ".join(f"{a:.1f},{_y(b):.1f}" for a, b in zip(x, precision[pick], strict=True))
    area = " ".join(f"{a:.1f},{_y(b):.1f}" for a, b in zip(x, envelope[pick], strict=True))
    outline = f"{PAD},{_y(envelope[0]):.1f} {area} {x[-1]:.1f},{_y(0)} {PAD},{_y(0)}"
    shapes = f'<polygon class="area" points="{outline}"/><polyline class="curve" points="{curve}"/>'
    return _frame("recall", shapes)


def score_histogram_svg(scores: np.ndarray, hits: np.ndarray, bins: int = 20) -> Markup:
    """Draw the share of true and of false detections by score, each scaled to its own highest bar."""
    if not len(scores):
        return _frame("score", '<text class="none" x="50%" y="45%">no detections</text>')
    low, high = min(0.0, float(scores.min())), max(1.0, float(scores.max()))
    step = (WIDTH - PAD - 6) / bins
    body = ""
    for name, part, shift in (("false", scores[~hits], 0.0), ("true", scores[hits], 0.5)):
        counts, edges = np.histogram(part, bins=bins, range=(low, high))
        for i, count in enumerate(counts.tolist()):
            if count:
                bar = max(count / counts.max() * (HEIGHT - PAD - 6), 1)
                x = PAD + (i + shift) * step
                tip = f"{edges[i]:.2f} to {edges[i + 1]:.2f}: {count} {name}"
                body += (
                    f'<rect class="{name}" x="{x:.1f}" y="{HEIGHT - PAD - bar:.1f}" width="{step / 2:.1f}" '
                    f'height="{bar:.1f}"><title>{tip}</title></rect>'
                )
    return _frame("score", body, f"{low:g}", f"{high:g}", "")


def _y(value: float) -> float:
    return HEIGHT - PAD - value * (HEIGHT - PAD - 6)


def _frame(label: str, body: str, low: str = "0", high: str = "1", top: str = "1") -> Markup:
    base = HEIGHT - PAD
    # Numbers and the words of this file alone: nothing to escape.
    return Markup(
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f'<path class="axis" d="M{PAD} 6V{base}H{WIDTH - 6}"/>{body}'
        f'<text x="{PAD}" y="{base + 13}">{low}</text>'
        f'<text x="{(WIDTH + PAD) / 2}" y="{base + 13}" text-anchor="middle">{label}</text>'
        f'<text x="{WIDTH - 6}" y="{base + 13}" text-anchor="end">{high}</text>'
        f'<text x="{PAD - 5}" y="13" text-anchor="end">{top}</text></svg>'
    )
