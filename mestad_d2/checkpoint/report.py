"""Report on the tensors of a weights file, as one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

SHOWN = 6


@dataclass
class LoadReport:
    """Outcome of loading; keys are our model's, or the file's where the model has none.

    Attributes:
        origin: the file's format.
        loaded: keys loaded from the file.
        adapted: how the file's tensor was made to fit, by key (part of ``loaded``).
        filled: why a key was set although the file has no such tensor.
        dropped: why a tensor of the file was not used, by the file's key.
        missing: keys of the backbone that stay as they were initialised.
        new: keys of other parts (FPN, heads) that stay as they were initialised.
        notes: what else changes what the weights compute.
    """

    origin: str
    loaded: list[str] = field(default_factory=list)
    adapted: dict[str, str] = field(default_factory=dict)
    filled: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def rows(self) -> list[tuple[str, int, str]]:
        """Return (outcome, number of tensors, which and why) in the order of the table."""
        rows = [("loaded", len(self.loaded), _parts(self.loaded))]
        rows += [("adapted", n, f"{why}: {keys}") for why, n, keys in _by_reason(self.adapted)]
        rows += [("filled", n, f"{why}: {keys}") for why, n, keys in _by_reason(self.filled)]
        rows += [("dropped", n, f"{why}: {keys}") for why, n, keys in _by_reason(self.dropped)]
        rows.append(("missing", len(self.missing), _some(self.missing)))
        rows.append(("new, initialised", len(self.new), _parts(self.new)))
        return [row for row in rows if row[1] or row[0] in ("loaded", "missing")]

    def table(self) -> str:
        """Return the rows, aligned, below a line that names the format."""
        lines = [f"weights of {self.origin}"]
        lines += [f"  {outcome:<16} {number:>5}  {text}".rstrip() for outcome, number, text in self.rows()]
        return "\n".join(lines + [f"  note: {note}" for note in self.notes])


def _parts(keys: Iterable[str]) -> str:
    """Tensors a part, a part being a pathway or module two levels deep."""
    counts = Counter(".".join(key.split(".")[: 2 if key.startswith("backbone.") else 1]) for key in keys)
    return ", ".join(f"{part} {number}" for part, number in counts.items())


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:SHOWN]) + (f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else "")


def _by_reason(reasons: dict[str, str]) -> list[tuple[str, int, str]]:
    groups: dict[str, list[str]] = {}
    for key, why in reasons.items():
        groups.setdefault(why, []).append(key)
    return [(why, len(keys), _some(keys)) for why, keys in groups.items()]
