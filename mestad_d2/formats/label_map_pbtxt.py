"""Entries of label maps in protobuf's text form, in time linear in the file's length."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from os import PathLike

from mestad_d2.errors import UserError

# The alternatives start with different characters, so that the regex never backtracks.
_TOKEN = re.compile(
    r"#[^\n]*|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'|[A-Za-z_][A-Za-z_0-9]*|[-+]?[0-9][0-9.eE+-]*|\n|[^\s]",
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{1,2}|[0-7]{1,3}|.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_KEYS = ("name", "display_name", "id", "label_id", "label_type")
# Lines in which the published evaluators see an id: exactly two spaces before the key.
_PUBLISHED_ID = re.compile(r"  (?:label_)?id:")


@dataclass
class _Block:
    """Values of one entry with the lines that they are on."""

    values: dict[str, str] = field(default_factory=dict)
    id_line: int = 0


def pbtxt_entries(
    lines: list[str], path: str | PathLike[str]
) -> list[tuple[int, tuple[str | None, str | None, str | None]]]:
    """Return (line, (id, name, type)) of every entry; name and id belong together inside one pair of braces.

    Without braces an entry ends where a key comes a second time. If the published evaluators
    find any ids, entries whose ids they miss are left out.

    Raises:
        UserError: names file and line; a name without quotes.
    """
    blocks = _blocks(lines, path)
    if any(_PUBLISHED_ID.match(line) for line in lines):
        blocks = [b for b in blocks if not b.id_line or _PUBLISHED_ID.match(lines[b.id_line - 1])]
    entries = []
    for block in blocks:
        v = block.values
        entry = (v.get("label_id", v.get("id")), v.get("name", v.get("display_name")), v.get("label_type"))
        entries.append((block.id_line, entry))
    return entries


def _blocks(lines: list[str], path: str | PathLike[str]) -> list[_Block]:
    blocks: list[_Block] = []
    current, depth, number, key = _Block(), 0, 1, None
    braces = any("{" in line for line in lines)

    def close() -> None:
        nonlocal current
        if current.values:
            blocks.append(current)
        current = _Block()

    for match in _TOKEN.finditer("\n".join(lines)):
        token = match[0]
        if token == "\n":
            number += 1
        elif token in "{<":
            # An entry is what is in the outermost braces; deeper ones hold nothing that is needed here.
            depth, key = depth + 1, None
            if depth == 1:
                close()
        elif token in "}>":
            depth, key = max(depth - 1, 0), None
            if depth == 0:
                close()
        elif token in _KEYS and key is None and depth <= 1:
            key = token
        elif token in ":,;" or token[0] == "#":
            continue
        elif key is not None:
            if key in current.values or (key in ("id", "label_id") and current.id_line):
                # In protobuf the last value would win, but a repeated key usually means a missing brace.
                if braces and depth:
                    raise UserError(
                        f"{path}: line {number}: a second {key} in one entry; close the one before with }}"
                    )
                close()
            current.values[key] = _value(key, token, path, number)
            if key in ("id", "label_id"):
                current.id_line = number
            key = None
    close()
    return blocks


def _value(key: str, token: str, path: str | PathLike[str], number: int) -> str:
    quoted = token[0] in "\"'" and len(token) > 1
    if key in ("name", "display_name") and not quoted:
        raise UserError(f'{path}: line {number}: no name in quotes; write name: "stand"')
    if not quoted:
        return token

    # Protobuf writes the bytes of other letters as octal numbers.
    def unescape(match: re.Match[str]) -> bytes:
        code = match[1]
        if code[0] == "x" and len(code) > 1:
            return bytes([int(code[1:], 16)])
        if code[0] in "01234567":
            return bytes([int(code, 8) & 255])
        return _ESCAPES.get(code, code).encode()

    text, parts, end = token[1:-1], [], 0
    for match in _ESCAPE.finditer(text):
        parts += [text[end : match.start()].encode("utf-8", "surrogateescape"), unescape(match)]
        end = match.end()
    return b"".join([*parts, text[end:].encode("utf-8", "surrogateescape")]).decode("utf-8", "replace")
