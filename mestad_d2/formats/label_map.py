"""Label maps of AVA: which action ids are evaluated, and how they are called."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from os import PathLike

from mestad_d2.errors import UserError

GROUPS = ("pose", "object", "person")
_GROUP_OF_TYPE = {"PERSON_MOVEMENT": "pose", "OBJECT_MANIPULATION": "object", "PERSON_INTERACTION": "person"}
# Names that tell AVA's own map from someone else's with the same ids.
_AVA_NAMES = {11: "sit", 12: "stand", 14: "walk", 17: "carry/hold", 59: "touch", 79: "talk to", 80: "watch"}
_TEXT_LINE = re.compile(r"\s*(\d+)\s*:\s*(\S.*?)\s*")


@dataclass(frozen=True)
class LabelMap:
    """Evaluated classes: ``names`` and, where the map tells them, ``groups`` by action id."""

    names: dict[int, str]
    groups: dict[int, str] = field(default_factory=dict)

    def group_of(self, action_id: int) -> str | None:
        """Group of AVA's three, or None where the map is neither typed nor AVA's own."""
        if self.groups:
            return self.groups.get(action_id)
        if not self.is_ava():
            return None
        return "pose" if action_id <= 14 else "object" if action_id <= 63 else "person"

    def is_ava(self) -> bool:
        """Whether ids and names are those of AVA (80 classes, or the 60 of them that are evaluated)."""
        known = [i for i in _AVA_NAMES if i in self.names]
        return (
            len(known) >= 5
            and max(self.names) <= 80
            and all(self.names[i].startswith(_AVA_NAMES[i]) for i in known)
        )


def read_label_map(path: str | PathLike[str]) -> LabelMap:
    """Read a pbtxt label map under the rules of the published evaluators, or ``id: name`` lines.

    In pbtxt only lines that start with exactly two spaces and ``name:``, ``id:``, ``label_id:`` or
    ``label_type:`` count; the name stands between the first double quotes. Only where that gives no class,
    other indents are read too.

    Raises:
        UserError: unreadable file, a line that can't be parsed, an id below 1, or no class at all.
    """
    lines = _lines(path)
    names: dict[int, str] = {}
    groups: dict[int, str] = {}
    name, last = "", None
    for number, line in enumerate(lines, 1):
        if line.startswith("  name:"):
            parts = line.split('"')
            if len(parts) < 2:
                raise UserError(f'{path}, line {number}: no name in double quotes; write   name: "stand"')
            name = parts[1]
        elif line.startswith(("  id:", "  label_id:")):
            last = _parse_id(line.strip().split(" ")[-1], path, number)
            names[last] = name
        elif line.startswith("  label_type:") and last is not None:
            kind = line.split(":", 1)[1].strip()
            if kind in _GROUP_OF_TYPE:
                groups[last] = _GROUP_OF_TYPE[kind]
    if not names:
        names = _read_text_form(lines, path) or _read_blocks(lines, path)
    if not names:
        raise UserError(
            f"{path}: no class found; a label map has lines '  name: \"stand\"' and '  id: 12' "
            "(two spaces of indent), or lines '12: stand'"
        )
    return LabelMap(names, groups)


def _read_text_form(lines: list[str], path: str | PathLike[str]) -> dict[int, str]:
    names = {}
    for number, line in enumerate(lines, 1):
        match = _TEXT_LINE.fullmatch(line)
        if match:
            names[_parse_id(match.group(1), path, number)] = match.group(2)
    return names


def _read_blocks(lines: list[str], path: str | PathLike[str]) -> dict[int, str]:
    """Entries of a pbtxt that is indented otherwise, where the published evaluators see no class at all."""
    names = {}
    for block in re.findall(r"\{([^{}]*)\}", "".join(lines)):
        name, label = re.search(r'\bname:\s*"([^"]*)"', block), re.search(r"\b(?:label_)?id:\s*(\d+)", block)
        if name and label:
            names[_parse_id(label.group(1), path, 1)] = name.group(1)
    return names


def _parse_id(text: str, path: str | PathLike[str], number: int) -> int:
    try:
        value = int(text)
    except ValueError:
        raise UserError(f"{path}, line {number}: {text!r} is no id; write   id: 12") from None
    if not 1 <= value < 2**31:
        raise UserError(f"{path}, line {number}: id {value} is out of range; ids start at 1")
    return value


def _lines(path: str | PathLike[str]) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as file:
            return file.readlines()
    except OSError as error:
        raise UserError(f"{path}: can't be read ({error.strerror}); give the label map's path") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; save the label map as UTF-8") from None
