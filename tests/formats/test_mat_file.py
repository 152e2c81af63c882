"""MATLAB files against SciPy's reader and writer, and what damaged ones do."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as numpy_st
from scipy.io import loadmat, savemat

from mestad_d2.errors import UserError
from mestad_d2.formats.tubes import mat_file
from mestad_d2.formats.tubes.mat_file import read_mat

NUMBERS = [np.dtype(f"<{kind}") for kind in ("f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")]
SHAPES = numpy_st.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=3)
FIELDS = st.text("abc_XYZ", min_size=1, max_size=20).map(lambda name: "f" + name)


def numbers(kind: np.dtype) -> st.SearchStrategy:
    return numpy_st.arrays(kind, SHAPES, elements=numpy_st.from_dtype(kind, allow_nan=False))


def cells(inner: st.SearchStrategy) -> st.SearchStrategy:
    def build(values: list) -> np.ndarray:
        held = np.empty((1, len(values)), object)
        held[0, :] = [*values]
        return held

    return st.lists(inner, min_size=1, max_size=3).map(build)


LEAVES = st.one_of(*map(numbers, NUMBERS), st.text("ab é€", max_size=6))
CONTENT = st.recursive(
    LEAVES, lambda inner: cells(inner) | st.dictionaries(FIELDS, inner, min_size=1, max_size=3)
)


def assert_same(mine: np.ndarray, theirs: np.ndarray) -> None:
    assert mine.shape == theirs.shape and mine.dtype.names == theirs.dtype.names
    if theirs.dtype.names:
        for field in theirs.dtype.names:
            assert_same(mine[field], theirs[field])
    elif theirs.dtype == object:
        for one, other in zip(mine.ravel(), theirs.ravel(), strict=True):
            assert_same(one, other)
    else:
        assert mine.dtype.kind == theirs.dtype.kind and (mine == theirs).all()
        assert mine.dtype.kind == "U" or mine.dtype.newbyteorder("=") == theirs.dtype.newbyteorder("=")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(FIELDS, CONTENT, min_size=1, max_size=2), st.booleans())
def test_as_scipy_reads_it(tmp_path: Path, content: dict, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    savemat(path, content, do_compression=compressed)
    theirs = {name: array for name, array in loadmat(path).items() if not name.startswith("__")}
    mine = read_mat(path, "fix")
    assert mine.keys() == theirs.keys()
    for name in theirs:
        assert_same(mine[name], theirs[name])


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(kind: int, sizes: tuple[int, ...], *parts: bytes) -> bytes:
    head = element(6, struct.pack("<II", kind, 0)) + element(5, struct.pack(f"<{len(sizes)}i", *sizes))
    return element(14, head + element(1, b"a") + b"".join(parts))


def nested(depth: int) -> bytes:
    return matrix(1, (1, 1), nested(depth - 1)) if depth else matrix(6, (1, 1), element(9, bytes(8)))


TOO_MUCH = {
    "cells that are not there": matrix(1, (2**30, 2)),
    "cells, negative": matrix(1, (-1, -1), nested(0)),
    "structs that are not there": matrix(2, (2**30, 2), element(5, b"\4\0\0\0"), element(1, b"abc\0")),
    "structs without fields": matrix(2, (2**30, 2), element(5, b"\4\0\0\0"), element(1, b"")),
    "fields without length": matrix(2, (1, 1), element(5, bytes(4)), element(1, b"abc\0")),
    "numbers that are not there": matrix(6, (2**30, 2), element(9, bytes(8))),
    "an element beyond the end": matrix(6, (1, 1), struct.pack("<II", 9, 2**31)),
    "an unknown type": matrix(6, (1, 1), element(99, bytes(8))),
    "an unknown class": matrix(17, (1, 1), element(9, bytes(8))),
    "no array": element(9, bytes(8)),
    "cells in cells": nested(40),
    "unpacked without end": element(15, zlib.compress(bytes(2**16 + 1), 9)),
}


@pytest.mark.parametrize("kind", TOO_MUCH)
def test_what_says_to_hold_more_than_it_does_is_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mat_file, "_UNPACKED", 2**16)
    head = b"MATLAB 5.0".ljust(124) + struct.pack("<H", 0x0100) + b"IM"
    good, bad = tmp_path / "good.mat", tmp_path / "bad.mat"
    good.write_bytes(head + matrix(1, (1, 2), nested(3), nested(0)))
    assert read_mat(good, "fix")["a"].shape == loadmat(good)["a"].shape == (1, 2)
    bad.write_bytes(head + TOO_MUCH[kind])
    with pytest.raises(UserError, match=r"bad\.mat: no MATLAB file that can be read .*; fix$"):
        read_mat(bad, "fix")


@pytest.mark.parametrize("content", [b"", b"x" * 127, b"MATLAB 7.3".ljust(124) + b"\0\2IM" + bytes(99), None])
def test_what_is_no_such_file_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.mat: "):
        read_mat(tmp_path / "a.mat", "fix")
