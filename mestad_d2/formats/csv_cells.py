"""Cells of csv files that spreadsheets show as text instead of running them as formulas."""

from __future__ import annotations

import re

# What a spreadsheet takes for the start of a formula, in the full-width forms of East Asian keyboards too.
_FORMULA = re.compile(r"[=@＝＠\t\r\n]|[-+＋－](?![\w.-]*\Z)")


def text_cell(text: str) -> str:
    """The text with an apostrophe in front where a spreadsheet would take it for a formula.

    Numbers and ids that begin with a minus sign and have no operators (AVA's ``-5KQ66BBWC4``) stay as they are: there is
    nothing in them to be run.
    """
    return f"'{text}" if _FORMULA.match(text) else text
