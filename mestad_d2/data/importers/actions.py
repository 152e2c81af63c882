"""Decide which annotations of a person are its actions: attributes, check boxes or the label itself."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from mestad_d2.data.importers.tracks import Labels, Tags
from mestad_d2.errors import UserError

# Attributes with these names hold actions.
NAMED = frozenset("action actions activity activities behavior behaviour behaviors behaviours".split())
# Attributes that hold something else in nearly every project.
TECHNICAL = frozenset(
    "occluded occlusion truncated truncation difficult crowd iscrowd generated lost outside keyframe rotation person_id "
    "track_id id old_id identity confidence visibility ignored comment notes gender age".split()
)
# Values that tools write where nothing was chosen.
NOTHING = frozenset({"", "__undefined__", "undefined"})
# This project's own tick boxes: the id stands in front of the name.
NUMBERED = re.compile(r"(\d+): (.*)", re.S)
LABEL = "label"


@dataclass(frozen=True)
class ActionRule:
    """Where actions are stored.

    Attributes:
        attributes: names of the attributes that hold them; a tick box is an action itself, of others the value is.
        from_label: whether the label of a box is an action.
        ticks: those of ``attributes`` that are tick boxes.
        numbered: whether tick boxes are called ``7: walk``, with the action id in front.
        nothing: values that are no action.
    """

    attributes: frozenset[str]
    from_label: bool
    ticks: frozenset[str] = field(default_factory=frozenset)
    numbered: bool = False
    nothing: frozenset[str] = NOTHING

    def __str__(self) -> str:
        names = ", ".join(sorted(self.attributes)) if not self.numbered else "tick boxes"
        return " and ".join(filter(None, [names, LABEL if self.from_label else ""]))

    def actions(self, tags: Tags) -> dict[str, float | None]:
        """Return the action names of a box, each with its confidence, None for manual labels."""
        found = [label for label in tags.labels if self.from_label]
        for name, value in tags.attributes:
            if name in self.ticks:
                found += [name] if value.lower() == "true" else []
            elif name in self.attributes and value not in self.nothing:
                found.append(value)
        said = dict(tags.attributes)
        sure = (
            dict(pair.split(":") for pair in said.get("confidence", "").split() if ":" in pair)
            if self.numbered
            else {}
        )
        actions: dict[str, float | None] = {}
        for action in dict.fromkeys(found):
            number = NUMBERED.fullmatch(action) if self.numbered else None
            text = sure.get(number[1]) if number else said.get(f"confidence of {action}")
            actions[action] = float(text) if text else None
        return actions


def choose_rule(files: Sequence[Labels], wanted: Sequence[str] = ()) -> ActionRule:
    """Find where actions are stored: as the user says, else where only one place is possible.

    Args:
        files: all that was read.
        wanted: names of attributes, or ``label``; empty: to be found out.

    Raises:
        UserError: a wanted attribute does not occur, or it could be several.
    """
    values, labels = _occurring(files)
    ticks = frozenset(
        name for name, texts in values.items() if texts <= {"true", "false", ""} and texts & {"true", "false"}
    )
    if wanted:
        absent = [name for name in wanted if name != LABEL and name not in values]
        if absent:
            known = ", ".join(sorted(values)) or "no attribute"
            raise UserError(
                f"--actions-from {absent[0]}: no such attribute; the files have {known}, and the label"
            )
        return ActionRule(frozenset(wanted) - {LABEL}, LABEL in wanted, ticks & frozenset(wanted))
    numbered = frozenset(name for name in ticks if NUMBERED.fullmatch(name))
    if numbered:
        return ActionRule(numbered, False, numbered, numbered=True)
    named = frozenset(name for name in values if name.lower() in NAMED)
    if named:
        return ActionRule(named, False, ticks & named)
    kinds = {name: kind for labels in files for name, kind in labels.kinds.items()}
    choices = frozenset(
        name
        for name in values
        if name.lower() not in TECHNICAL and (name in ticks or _chosen(kinds.get(name)))
    )
    if not choices:
        return ActionRule(frozenset(), True)
    # One label and nothing but tick boxes, or one choice: the label says that it is a person.
    if len(labels) <= 1 and (choices <= ticks or len(choices) == 1):
        return ActionRule(choices, False, ticks & choices)
    raise UserError(
        f"actions may be in {', '.join(sorted(choices))} or in the label ({', '.join(sorted(labels)[:5])}); say which "
        "with --actions-from"
    )


def _chosen(kind: str | None) -> bool:
    return kind in ("select", "radio", "options")


def _occurring(files: Sequence[Labels]) -> tuple[dict[str, set[str]], set[str]]:
    """Values by attribute, lower case, and the labels that occur."""
    values: dict[str, set[str]] = defaultdict(set)
    labels: set[str] = set()
    for tags in {m.tags for f in files for video in f.videos for track in video.tracks for m in track.marks}:
        labels.update(tags.labels)
        for name, value in tags.attributes:
            if not name.startswith("confidence of "):
                values[name].add(value.lower())
    return values, labels


def number_actions(
    used: Sequence[str],
    files: Sequence[Labels],
    rule: ActionRule,
    known: dict[int, str],
    last: str | None = None,
) -> dict[str, int]:
    """Return action ids by name: from an existing label map, from the files, or in order of declaration from 1.

    Args:
        used: names that occur.
        known: id -> name of the label map; new names get ids behind the largest.
        last: a name that comes behind all others that are new.

    Raises:
        UserError: a label map with one name for two ids, or two files that number one name differently.
    """
    by_name: dict[str, int] = {}
    for number, name in sorted(known.items()):
        if name in by_name:
            raise UserError(f"the label map has {name!r} for {by_name[name]} and {number}; remove one")
        by_name[name] = number
    if rule.numbered:
        for name in used:
            number, text = NUMBERED.fullmatch(name).groups()
            if known.get(int(number), text) != text:
                raise UserError(
                    f"{name!r} is {known[int(number)]!r} in the label map; use the map that it was exported with"
                )
            by_name[name] = int(number)
        return {name: by_name[name] for name in used}
    if rule.from_label and not known:
        for labels in files:
            for name, number in labels.ids.items():
                if by_name.setdefault(name, number) != number:
                    raise UserError(
                        f"{name!r} is {by_name[name]} in one file and {number} in another; give a --label-map that has it"
                    )
        if len(set(by_name.values())) < len(by_name):
            # Files that number other names alike: the names alone count.
            by_name = {}
    declared = [name for labels in files for name in labels.options]
    order = [
        name
        for name in dict.fromkeys([*declared, *sorted(used, key=lambda n: (n == last, n))])
        if name in set(used)
    ]
    following = max([0, *known, *by_name.values()]) + 1
    for name in order:
        if name not in by_name:
            by_name[name] = following
            following += 1
    return {name: by_name[name] for name in used}
