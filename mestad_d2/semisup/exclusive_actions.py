"""Mutually exclusive actions, learned from the annotators' rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import combinations

from mestad_d2.semisup.actors import KeyFrame

# Pairs expected this often by chance that never occur are exclusive.
EXPECTED = 5.0


def exclusive_pairs(frames: Iterable[KeyFrame]) -> frozenset[frozenset[int]]:
    """Find pairs of actions that never occur together although chance predicts it (standing, walking)."""
    people = [person.actions for frame in frames for person in frame.people]
    alone = Counter(action for actions in people for action in actions)
    together = Counter(frozenset(pair) for actions in people for pair in combinations(actions, 2))
    pairs = (frozenset(pair) for pair in combinations(sorted(alone), 2))
    expected = {pair: _product(alone[action] for action in pair) / len(people) for pair in pairs}
    return frozenset(pair for pair, count in expected.items() if count >= EXPECTED and not together[pair])


def _product(numbers: Iterable[int]) -> int:
    first, second = numbers
    return first * second
