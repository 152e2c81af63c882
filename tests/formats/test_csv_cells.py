"""No cell is a formula, and what is none stays as it is."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mestad_d2.formats.csv_cells import text_cell


@pytest.mark.parametrize(
    "text", ["=1+1", "@SUM(A1)", "+A1*2", "-A1|'x'!A0", "\t=1", "\r=1", "\n=1", "＝1", "＋(1)"]
)
def test_formulas_become_text(text: str) -> None:
    assert text_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["-5KQ66BBWC4", "-1.5", "+49", "a=b", "", "day 1/x.mp4", "-"])
def test_names_and_numbers_stay(text: str) -> None:
    assert text_cell(text) == text


@given(st.text(alphabet="=+-@\t\r\n\"'a1.,( ", max_size=8))
def test_no_cell_begins_as_a_formula_and_nothing_is_lost(text: str) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerow([text_cell(text), "x"])
    ((cell, _),) = csv.reader(io.StringIO(stream.getvalue(), newline=""))
    assert cell.removeprefix("'") == text.removeprefix("'") or cell == text
    assert not cell.startswith(("=", "@", "\t", "\r", "\n"))
    assert not (cell[:1] in ("+", "-") and any(sign in cell[1:] for sign in "=+@|!(\"' ,"))
