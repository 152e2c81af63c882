"""Csv parsing: the fast reader against the exact one, and nothing but our own error on any text."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mestad_d2.errors import UserError
from mestad_d2.evaluation import fast_csv
from mestad_d2.evaluation.frame_map.protocols import PROTOCOLS, get_protocol
from mestad_d2.evaluation.ground_truth import exclusion_keys
from mestad_d2.evaluation.read_rows import _Reader, read_rows
from mestad_d2.formats.ava_csv import read_exclusions
from mestad_d2.formats.label_map import read_label_map

fuzz = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = ["0", "1", "-0", "0.5", ".5", "5.", "-.25", "1e-05", "0.30000001192092896", "123456789.123456789"]
NUMBERS += ["+1", " 1", "", "-", ".", "1.2.3", "1_0", "nan", "inf", "0x1", "9" * 30, "é", "1-2", "0001.50"]
FIELDS = st.sampled_from(NUMBERS) | st.floats().map(repr) | st.integers().map(str)
NAMES = st.sampled_from(["v", "video_1", 'a "quoted" one', "with,comma", "ü", "", "x" * 300, "-5KQ66BBWC4"])
TIMES = st.sampled_from(["902", "0902", "902.0", "3.48", "x", "", "-1", "1e3", "NaN", "902.0000001"])


@st.composite
def tables(draw) -> str:
    lines = []
    for _ in range(draw(st.integers(0, 6))):
        row = [draw(NAMES), draw(TIMES)]
        # Mostly sound rows, or no file would get past its first.
        sound = draw(st.booleans())
        row += [draw(st.sampled_from(NUMBERS[:10]) if sound else FIELDS) for _ in range(4)]
        row += [draw(st.sampled_from(["1", "12", "99"]) if sound else FIELDS), draw(FIELDS)]
        if draw(st.integers(0, 4)) == 0:
            row[2:] = [""] * 6
        row = row[: draw(st.sampled_from([8, 8, 8, 7, 2, 5, 0]))]
        quoted = draw(st.booleans())
        lines.append(",".join('"' + f.replace('"', '""') + '"' if quoted else f for f in row))
    end = draw(st.sampled_from(["\n", "\n", "\r\n", "\r"]))
    return end.join(lines) + draw(st.sampled_from(["", end]))


@fuzz
@given(text=tables(), role=st.sampled_from(["gt", "det"]), protocol=st.sampled_from(sorted(PROTOCOLS)))
def test_fast_and_exact_reader_agree(tmp_path: Path, text: str, role: str, protocol: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(text.encode())
    reader = _Reader(str(path), role, get_protocol(protocol), {1, 12})
    try:
        fast = reader.fast()
    except fast_csv.NotPlain:
        fast = None
    try:
        exact = reader.exact()
    except UserError as error:
        assert fast is None
        assert "\n" not in str(error)
        with pytest.raises(UserError):
            read_rows(path, role, protocol, {1, 12})
        return
    for got in (fast, read_rows(path, role, protocol, {1, 12})):
        if got is not None:
            assert got.keys == exact.keys
            for name in ("frame", "boxes", "actions", "scores", "lines"):
                np.testing.assert_array_equal(getattr(got, name), getattr(exact, name))


@fuzz
@given(data=st.binary(max_size=200), protocol=st.sampled_from(sorted(PROTOCOLS)))
def test_any_bytes(tmp_path: Path, data: bytes, protocol: str) -> None:
    path = tmp_path / "any"
    path.write_bytes(data)
    for read in (
        lambda: read_rows(path, "det", protocol, {1}),
        lambda: read_exclusions(path),
        lambda: read_label_map(path),
    ):
        try:
            read()
        except UserError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("chunk", [256, 1000, 1 << 20])
def test_plain_files_take_the_fast_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, end: str
) -> None:
    monkeypatch.setattr(fast_csv, "CHUNK", chunk)
    monkeypatch.setattr(_Reader, "exact", lambda self: pytest.fail("the exact reader was needed"))
    rng = np.random.default_rng(0)
    n = 500
    values = rng.random((n, 5)) * rng.choice([1, 1e-5, 300], (n, 1))
    formats = ["{:.3f}", "{:.6f}", "{!r}", "{:.9g}", "{:e}"]
    with (tmp_path / "d.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator=end)
        table = [[formats[rng.integers(5)].format(float(v)) for v in row] for row in values]
        for i, row in enumerate(table):
            writer.writerow([f"v{i // 7}", f"{i % 900:04d}", *row[:4], i % 81, row[4]])
    got = read_rows(tmp_path / "d.csv", "det", "activitynet")
    want = np.array([[float(f) for f in row] for row in table])
    np.testing.assert_array_equal(got.boxes, want[:, :4])
    np.testing.assert_array_equal(got.scores, want[:, 4])
    np.testing.assert_array_equal(got.actions, np.arange(n) % 81)
    np.testing.assert_array_equal(got.lines, np.arange(1, n + 1))
    assert got.keys[0] == "v0,0.000000"


def test_rules_in_which_the_protocols_differ(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"

    def read(text: str, role: str, protocol: str):
        path.write_text(text)
        return read_rows(path, role, protocol, {1})

    frame, bare, full = "v,0902\n", "v,902,0,0,1,1,1\n", "v,00902,0,0,1,1,1,7\n"
    got = read(frame + bare + full + "v,903,0,0,1,1,2,x\n", "gt", "activitynet")
    assert got.keys == ["v,902.000000", "v,903.000000"]
    assert got.scores[:2].tolist() == [1, 7]
    assert math.isnan(got.scores[2])
    assert got.lines.tolist() == [2, 3, 4]
    assert read("v,902,0,0,1,1,1,x\n" + bare, "gt", "slowfast").scores.tolist() == [1, 1]
    # A row without score matters to PySlowFast only if its class is evaluated.
    assert len(read("v,902,0,0,1,1,2\n" + full, "det", "slowfast")) == 2
    for text, role in ((frame, "gt"), (frame, "det"), (bare, "det"), ("v,902.0,0,0,1,1,1,1\n", "det")):
        with pytest.raises(UserError, match="rows.csv, row 1: "):
            read(text, role, "slowfast")
    assert read("v,3.4800001,0,0,1,1,1,1\nv,3.48,0,0,1,1,1,1\n", "det", "activitynet").keys == ["v,3.480000"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("empty", ["v,902,,,,,", "v,902,,,,,,", 'v,902,,,"",,,', "v,902, ,,,,,"])
def test_frames_without_people_as_ava_kinetics_writes_them(tmp_path: Path, empty: str, protocol: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"u,901,0,0,1,1,1,1\n{empty}\nw,903,0,0,1,1,1,1\n")
    got = read_rows(path, "gt", protocol, {1})
    assert [key.split(",")[0] for key in got.keys] == ["u", "v", "w"]
    assert got.frame.tolist() == [0, 2] and got.lines.tolist() == [1, 3]
    # A detection without a box is a mistake.
    with pytest.raises(UserError, match="rows.csv, row 2: "):
        read_rows(path, "det", protocol, {1})
    path.write_text("v,902,,,,,1,\n")
    with pytest.raises(UserError, match="rows.csv, row 1: x1 is ''"):
        read_rows(path, "gt", protocol, {1})


def test_exclusions(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_text("v,0902\nw , 903.0\n\nu,904,,\nx,3.48\n")
    excluded = read_exclusions(path)
    assert excluded == {("v", 902.0), ("w", 903.0), ("u", 904.0), ("x", 3.48)}
    assert exclusion_keys(excluded, PROTOCOLS["slowfast"]) == {"v,0902", "w,0903", "u,0904"}
    assert exclusion_keys(excluded, PROTOCOLS["activitynet"]) == set()
    path.write_text("v,0902\nw\n")
    with pytest.raises(UserError, match="e.csv: row 2: 1 fields; write video,second"):
        read_exclusions(path)
