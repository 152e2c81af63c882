"""Fits the state dict of a library to a model that keeps that library's module under a name of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

WRAPPERS = ("module.", "model.", "backbone.")


def find_prefixes(file_keys: Iterable[str], model_keys: Iterable[str]) -> tuple[str, str] | None:
    """(what to take off the file's keys, what to put before them) that makes most keys meet, or None.

    None, too, when less than half of the file's keys meet the model's: that is another network.
    """
    file_keys, model_keys = list(file_keys), list(model_keys)
    best, best_count = None, 0
    for off in ("", *WRAPPERS):
        bare = {key.removeprefix(off) for key in file_keys if key.startswith(off)}
        counts: Counter[str] = Counter()
        for key in model_keys:
            parts = key.split(".")
            for depth in range(len(parts)):
                if ".".join(parts[depth:]) in bare:
                    counts["".join(part + "." for part in parts[:depth])] += 1
        for on, count in counts.items():
            if count > best_count:
                best, best_count = (off, on), count
    return best if best_count * 2 >= len(file_keys) else None
