"""Rows of csv files that take quadratic readers minutes: linear time, and a limit a line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mestad_d2.data.per_video import read_values
from mestad_d2.data.person_boxes import read_person_boxes
from mestad_d2.errors import UserError
from mestad_d2.formats.ava_csv import read_exclusions, read_ground_truth
from mestad_d2.formats.tubes.csv_files import read_tubelets

READERS: dict[str, Callable[[Path], object]] = {
    "labels": read_ground_truth,
    "exclusions": read_exclusions,
    "values": lambda path: read_values(str(path)),
    "person boxes": read_person_boxes,
    "tubelets": read_tubelets,
}
HEADERS = {"tubelets": "video,start,class,tubelet,score,k,x1,y1,x2,y2\n"}
ROWS = (
    "v,1," + " " * 9900,
    " " * 9900 + "v,1",
    '"' * 9900,
    '"v' + '""' * 4900 + '",1',
    "v" * 9900,
    "," * 9900,
    "\\" * 9900,
)


@pytest.mark.parametrize("name", READERS)
def test_time_is_linear(name: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    for row in ROWS:
        path.write_text(HEADERS.get(name, "") + (row + "\n") * 100)
        start = time.process_time()
        try:
            READERS[name](path)
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error) and len(str(error)) < 12_000
        # 1 MB: quadratic readers take minutes.
        assert time.process_time() - start < 3


@pytest.mark.parametrize("name", READERS)
def test_a_line_has_a_limit(name: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEADERS.get(name, "") + "v,1," + " " * 10_001 + "\n")
    with pytest.raises(UserError, match=r"rows\.csv: line [12]: longer than 10000"):
        READERS[name](path)
