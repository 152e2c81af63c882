"""Cells of csv files: quoted where csv wants it, and text that no spreadsheet runs as a formula."""

from __future__ import annotations

import re

# Characters that start a formula in a spreadsheet, with their full-width forms of East Asian keyboards.
_FORMULA = re.compile(r"[=@＝＠\t\r\n]|[-+＋－](?![\w.-]*\Z)")


def text_cell(text: str) -> str:
    """Return the text, with an apostrophe in front where a spreadsheet would run it as a formula.

    Numbers and ids that begin with a minus sign and have no operators (AVA's ``-5KQ66BBWC4``) are not formulas and stay
    as they are.
    """
    return f"'{text}" if _FORMULA.match(text) else text


def without_guard(cell: str) -> str:
    """Return the text of which ``text_cell`` made a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell[1:]) else cell


def csv_field(text: str) -> str:
    """Return the text as one field of a csv line, quoted where it has to be."""
    if not any(sign in text for sign in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def is_number(text: str) -> bool:
    """Return whether Python reads a cell as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
