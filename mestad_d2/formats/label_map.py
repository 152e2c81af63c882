"""Read label maps: which action ids there are, how they are called, and which group they belong to."""

from __future__ import annotations

import csv
import json
import re
from os import PathLike
from types import MappingProxyType
from typing import Any, NamedTuple

from mestad_d2.errors import UserError
from mestad_d2.formats.csv_cells import is_number
from mestad_d2.formats.label_map_pbtxt import pbtxt_entries
from mestad_d2.formats.lines import text_lines

GROUPS = ("pose", "object", "person")
_GROUP_OF_TYPE = {"PERSON_MOVEMENT": "pose", "OBJECT_MANIPULATION": "object", "PERSON_INTERACTION": "person"}
# Names that distinguish AVA's map from other maps with the same ids.
_AVA_NAMES = {11: "sit", 12: "stand", 14: "walk", 17: "carry/hold", 59: "touch", 79: "talk to", 80: "watch"}
# What id 0 is called where it stands for "no action"; such an entry is left out, as ids start at 1.
_BACKGROUND = ("background", "bg", "none", "null", "no action", "no_action", "noaction", "negative", "others")
_ID_COLUMNS = ("label_id", "id", "class_id", "action_id", "index", "idx")
_NAME_COLUMNS = ("label_name", "name", "class_name", "action_name", "class", "action", "label")
_FORMS = 'write AVA\'s pbtxt, lines "12: stand", a csv id,name, json {"stand": 12}, or one name a line (ids from 1)'
MAX_NAME = 300
# Id, name and type as written; None where the file has none.
Entry = tuple[str | None, str | None, str | None]


class LabelMap(NamedTuple):
    """Action classes: ``names`` and, where the map tells them, ``groups`` (pose, object, person) by action id."""

    names: dict[int, str]
    groups: dict[int, str] = MappingProxyType({})

    def group_of(self, action_id: int) -> str | None:
        """Group of AVA's three, or None where the map is neither typed nor AVA's own."""
        if self.groups:
            return self.groups.get(action_id)
        if not self.is_ava():
            return None
        return "pose" if action_id <= 14 else "object" if action_id <= 63 else "person"

    def is_ava(self) -> bool:
        """Return whether ids and names are AVA's: all 80 classes, or the 60 evaluated ones."""
        known = [i for i in _AVA_NAMES if i in self.names]
        return (
            len(known) >= 5
            and max(self.names) <= 80
            and all(self.names[i].startswith(_AVA_NAMES[i]) for i in known)
        )


def read_label_map(path: str | PathLike[str]) -> LabelMap:
    """Read a label map in any common format, detected from its content.

    pbtxt (``item { name: "stand" id: 12 }``, name and id in any order), lines ``12: stand`` or ``12 stand``, csv
    ``id,name[,type]`` with or without a header (AVA's own), json (``{"stand": 12}``, ``{"12": "stand"}``, a list of
    names, COCO's ``categories``), or one name a line, whose ids count from 1. An entry 0 that is called background
    is left out.

    As in the published evaluators, if a pbtxt has ids on lines that start with exactly two spaces, only those count.

    Raises:
        UserError: names file and line; unreadable, an entry without id or name, an id below 1 or twice, no entry.
    """
    lines = text_lines(path)
    text = "\n".join(lines)
    start = text.lstrip()[:1]
    if start in ("{", "[") and (content := _json(text)) is not None:
        entries = _json_entries(content, path)
    elif "{" in text or any(line.lstrip().startswith(("name:", "id:", "label_id:")) for line in lines):
        entries = pbtxt_entries(lines, path)
    else:
        entries = _line_entries(lines, path)
    return _label_map(entries, path)


def _label_map(entries: list[tuple[int, Entry]], path: str | PathLike[str]) -> LabelMap:
    """Check ids and names; entries are (line, (id, name, type)), line 0 where there are no lines."""
    names: dict[int, str] = {}
    groups: dict[int, str] = {}
    for line, (label, name, kind) in entries:
        where = f"{path}: line {line}" if line else f"{path}"
        if label is None or name is None:
            lacks, has = ("an id", f"name {name!r}") if label is None else ("a name", f"id {label}")
            raise UserError(
                f'{where}: the entry with {has:.80} lacks {lacks}; write name: "stand" and id: 12'
            )
        try:
            number = int(label)
        except ValueError:
            raise UserError(f"{where}: {label!r:.40} is no id; write a whole number, id: 12") from None
        name = " ".join(name.split())
        if len(name) > MAX_NAME:
            raise UserError(f"{where}: a name of {len(name)} characters; is this the right file?")
        if number == 0 and name.strip("_ ").lower() in _BACKGROUND:
            continue
        if not 1 <= number < 2**31:
            raise UserError(
                f"{where}: id {number} ({name!r:.60}) is out of range; ids start at 1, in the csv files too"
            )
        if number in names and names[number] != name:
            raise UserError(
                f"{where}: id {number} is there twice ({names[number]!r:.60}, {name!r:.60}); remove one entry"
            )
        names[number] = name
        if kind in _GROUP_OF_TYPE:
            groups[number] = _GROUP_OF_TYPE[kind]
    if not names:
        raise UserError(f"{path}: no class found; {_FORMS}")
    return LabelMap(names, groups)


def _json(text: str) -> Any:
    """The content of a json text; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _json_entries(content: Any, path: str | PathLike[str]) -> list[tuple[int, Entry]]:
    if isinstance(content, dict):
        inner = next(
            (content[key] for key in ("categories", "classes", "names", "labels") if key in content), None
        )
        content = inner if isinstance(inner, list | dict) else content
    if isinstance(content, list) and content and all(isinstance(item, str) for item in content):
        return _numbered(content, [0] * len(content))
    if isinstance(content, list) and content and all(isinstance(item, dict) for item in content):
        return [(0, (_first(item, _ID_COLUMNS), _first(item, _NAME_COLUMNS), None)) for item in content]
    if isinstance(content, dict) and content:
        if all(type(value) is int for value in content.values()):
            return [(0, (str(value), key, None)) for key, value in content.items()]
        if all(isinstance(value, str) and key.strip().isdecimal() for key, value in content.items()):
            return [(0, (key, value, None)) for key, value in content.items()]
    raise UserError(f"{path}: this json is no label map; {_FORMS}")


def _first(item: dict, keys: tuple[str, ...]) -> str | None:
    return next((str(item[key]) for key in keys if type(item.get(key)) in (int, str)), None)


def _line_entries(lines: list[str], path: str | PathLike[str]) -> list[tuple[int, Entry]]:
    """Entries of a text with one on each line."""
    numbered = [
        (n, line.strip()) for n, line in enumerate(lines, 1) if line.strip() and line.strip()[0] != "#"
    ]
    if not numbered:
        return []
    for mark in (":", ",", "\t", ";", None):
        entries = [_split_entry(text, mark) for _, text in numbered]
        head = entries[0] is None and mark not in (None, ":") and _is_header(numbered[0][1], mark)
        found, rest = entries[head:], numbered[head:]
        if found and all(entry is not None for entry in found):
            return [(n, entry) for (n, _), entry in zip(rest, found, strict=True)]
        if sum(entry is not None for entry in found) * 2 > len(found):
            n, text = next(row for row, entry in zip(rest, found, strict=True) if entry is None)
            example = f"12{mark or ' '}stand"
            raise UserError(
                f"{path}: line {n}: {text!r:.60} is no entry like {example!r}; mend or remove the line"
            )
    texts = [text for _, text in numbered]
    odd = next(
        (row for row in numbered if not any(c.isalpha() for c in row[1]) or row[1].count(",") > 4), None
    )
    if odd is not None:
        raise UserError(f"{path}: line {odd[0]}: {odd[1]!r:.60} is no name of an action; {_FORMS}")
    return _numbered(texts, [n for n, _ in numbered])


def _split_entry(text: str, mark: str | None) -> Entry | None:
    """Id, name and type of ``12: stand``, ``12,stand,TYPE``, ``stand,12`` or ``12 stand``; None for anything else."""
    if mark in (":", None):
        first, last = (text.split(mark, 1) + ["", ""])[:2]
        return (first.strip(), last.strip(), None) if _is_id(first.strip()) and last.strip() else None
    try:
        fields = [field.strip() for field in next(csv.reader([text], delimiter=mark), [])]
    except csv.Error:
        return None
    # A name may contain unquoted commas.
    kind = fields.pop() if len(fields) > 2 and fields[-1] in _GROUP_OF_TYPE else None
    if len(fields) >= 2 and _is_id(fields[0]) and not all(map(is_number, fields[1:])):
        return fields[0], f"{mark} ".join(fields[1:]) if len(fields) > 2 else fields[1], kind
    if len(fields) == 2 and _is_id(fields[1]) and fields[0]:
        return fields[1], fields[0], kind
    return None


def _is_header(text: str, mark: str) -> bool:
    fields = [field.strip().lower() for field in text.split(mark)]
    return bool({*_ID_COLUMNS} & {*fields}) and bool({*_NAME_COLUMNS} & {*fields})


def _numbered(names: list[str], lines: list[int]) -> list[tuple[int, Entry]]:
    """Names with ids from 1; from 0 where the first one is the background."""
    first = 0 if names[0].strip("_ ").lower() in _BACKGROUND else 1
    return [
        (line, (str(i), name, None)) for i, (line, name) in enumerate(zip(lines, names, strict=True), first)
    ]


def _is_id(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,12}", text) is not None
