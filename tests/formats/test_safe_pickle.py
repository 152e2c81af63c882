"""Pickles: what people have is read as pickle reads it; anything else is refused in bounded memory and time."""

from __future__ import annotations

import os
import pickle
import pickletools
import random
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mestad_d2.errors import UserError
from mestad_d2.formats.safe_pickle import load_arrays, read_arrays

KEYS = st.text(max_size=4) | st.integers(-(2**60), 2**60) | st.tuples(st.text(max_size=3), st.integers(0, 9))
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | st.binary(max_size=8)
    | arrays.arrays(st.sampled_from(["<f4", "<f8", ">i2", "u1", "?", "<i8", "<f2"]),
                    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
                    elements={"allow_nan": False})
)  # fmt: skip
VALUES = st.recursive(
    LEAVES, lambda v: st.lists(v, max_size=4) | st.dictionaries(KEYS, v, max_size=4) | st.tuples(v, v),
    max_leaves=12,
)  # fmt: skip


def same(a: object, b: object) -> bool:
    """Equality that looks into arrays."""
    if isinstance(a, np.ndarray):
        # numpy itself gives some arrays in the machine's byte order, some in the file's.
        return (
            a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")
            and a.shape == b.shape
            and bool(np.array_equal(a, b))
        )
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@settings(
    deadline=None,
    max_examples=100,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(value=VALUES, protocol=st.integers(0, 5))
def test_plain_data_comes_back_as_pickle_gives_it(tmp_path: Path, value: object, protocol: int) -> None:
    (tmp_path / "p").write_bytes(pickle.dumps(value, protocol=protocol))
    assert same(pickle.loads((tmp_path / "p").read_bytes()), load_arrays(tmp_path / "p"))


@pytest.mark.parametrize("protocol", range(6))
def test_forms_that_files_of_this_field_have(tmp_path: Path, protocol: int) -> None:
    shared = np.arange(5.0)
    value = {
        "v_1,0902": np.array([[0.1, 0.2, 0.5, 0.9, 0.99]]),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "scalar": np.float32(0.25),
        "ordered": OrderedDict([("b", 1), ("a", [shared, shared])]),
        "empty": np.zeros((0, 5)),
    }
    (tmp_path / "p").write_bytes(pickle.dumps(value, protocol=protocol))
    got = load_arrays(tmp_path / "p")
    assert same({**value, "scalar": 0.25}, got) and list(got["ordered"]) == ["b", "a"]


def test_strings_of_python_2_are_bytes_of_arrays(tmp_path: Path) -> None:
    raw = np.array([1.5, -2.0]).tobytes()
    quoted = "".join(f"\\x{byte:02x}" for byte in raw).encode()
    program = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I2\ntcnumpy\ndtype\n"
        b"(S'f8'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\nS'" + quoted + b"'\ntb."
    )
    (tmp_path / "p").write_bytes(program)
    np.testing.assert_array_equal(load_arrays(tmp_path / "p"), [1.5, -2.0])


def program(*parts: bytes) -> bytes:
    """A pickle of protocol 4 by hand."""
    return b"\x80\x04" + b"".join(parts) + b"."


def array_of(kind: bytes, shape: bytes, raw: bytes) -> bytes:
    """The instructions of an array whose parts need not fit."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R(K\x01" + shape
        + b"cnumpy\ndtype\nX" + len(kind).to_bytes(4, "little") + kind + b"\x89\x88\x87R\x89"
        + b"C" + bytes([len(raw)]) + raw + b"tb"
    )  # fmt: skip


REFUSED = {
    "object array": array_of(b"O", b"K\x01\x85", b"12345678"),
    "text array": array_of(b"U2", b"K\x01\x85", b"12345678"),
    "structured array": array_of(b"f8,O", b"K\x01\x85", b"12345678"),
    "more than the bytes": array_of(b"f8", b"J\x00\x00\x00\x10\x85", b"12345678"),
    "fewer than the bytes": array_of(b"i1", b"K\x01\x85", b"12345678"),
    "a negative side": array_of(b"f8", b"J\xff\xff\xff\xff\x85", b"12345678"),
    "a huge empty array": array_of(b"f8", b"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x40K\x00\x86", b""),
    "an unfinished array": b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R",
    "an array type alone": b"cnumpy\nndarray\n",
    "a byte array of a terabyte": b"\x96" + (2**40).to_bytes(8, "little"),
    "text of a terabyte": b"\x8d" + (2**40).to_bytes(8, "little") + b"ab",
    "bytes of gigabytes": b"B\xff\xff\xff\x7fab",
    "a frame of a terabyte": b"\x95" + (2**40).to_bytes(8, "little") + b"N",
    "a list that holds itself": b"]\x940h\x00h\x00a",
    "sharing that unfolds": b"]" + b"2\x86" * 60,
    "deep nesting": b"]" * 5000 + b"a" * 4999,
    "a nested key": b"}" + b")" + b"\x85" * 3000 + b"Ns",
    "a key that collides": b"}\x8a\x08" + (2**61 - 1).to_bytes(8, "little") + b"Ns",
    "a list as a key": b"}]Ns",
    "state of a list": b"]}b",
    "values added to text": b"X\x01\x00\x00\x00a]a",
    "a set": b"\x8f",
    "a new object": b"cnumpy\nndarray\n)\x81",
    "the same text as many bytes": b"X\x40\x00\x00\x00" + b"a" * 64 + b"\x940]"
    + b"c_codecs\nencode\n\x940" + b"h\x01h\x00\x85Ra" * 600,
    "a call of a number": b"K\x01)R",
    "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_plain_data_never_does_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "p.pkl").write_bytes(program(REFUSED[name]))
    with pytest.raises(UserError) as error:
        read_arrays(tmp_path / "p.pkl")
    assert "\n" not in str(error.value) and "p.pkl" in str(error.value) and len(str(error.value)) < 400


def test_a_memo_number_costs_no_memory(tmp_path: Path) -> None:
    (tmp_path / "p.pkl").write_bytes(program(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff"))
    assert load_arrays(tmp_path / "p.pkl") is None


def mutants(seed: int, count: int) -> list[bytes]:
    """Honest pickles with instructions and bytes changed, left out, doubled and mixed."""
    rng = random.Random(seed)
    honest = [
        pickle.dumps(value, protocol=protocol)
        for protocol in (0, 2, 4, 5)
        for value in (
            {"v,0902": np.zeros((3, 5))},
            {"a": OrderedDict(b=[np.float32(1), (1, 2.5, "x")])},
            [{"k": [1, 2, b"xy"]}, 2**80, None, True, np.arange(4, dtype=">i2")],
        )
    ]
    codes = [op.code.encode("latin1") for op in pickletools.opcodes]
    made = []
    for _ in range(count):
        data = bytearray(rng.choice(honest))
        for _ in range(rng.choice([1, 1, 1, 2, 5])):
            at = rng.randrange(len(data))
            kind = rng.randrange(5)
            if kind == 0:
                data[at] = rng.randrange(256)
            elif kind == 1:
                data[at:at] = rng.choice(codes) + rng.randbytes(rng.randrange(9))
            elif kind == 2:
                del data[at : at + rng.randint(1, 8)]
                data = data or bytearray(b".")
            elif kind == 3:
                data[at:at] = data[at : at + rng.randint(1, 40)]
            else:
                other = rng.choice(honest)
                data[at:] = other[rng.randrange(len(other)) :]
                data = data or bytearray(b".")
        made.append(bytes(data))
    return made


FUZZ = """
import resource, sys
from pathlib import Path
from test_safe_pickle import mutants
from mestad_d2.errors import UserError
from mestad_d2.formats.safe_pickle import read_arrays
resource.setrlimit(resource.RLIMIT_AS, (3 << 30,) * 2)
path, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
read = refused = 0
for data in mutants(seed, count):
    path.write_bytes(data)
    try:
        read_arrays(path)
        read += 1
    except UserError as error:
        assert "\\n" not in str(error), error
        refused += 1
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(read, refused, grown)
"""


def fuzz(folder: Path, seed: int, count: int) -> tuple[int, int, int]:
    """(read, refused, growth in KB) of a process with a memory limit that reads mutants."""
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", FUZZ, str(folder / "p.pkl"), str(seed), str(count)],
        env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    read, refused, grown = map(int, done.stdout.split())
    return read, refused, grown


def test_mutants_are_read_or_refused_in_little_memory(tmp_path: Path) -> None:
    read, refused, grown = fuzz(tmp_path, 0, 500)
    assert read + refused == 500 and min(read, refused) > 20 and grown < 100_000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_mutants(tmp_path: Path, seed: int) -> None:
    read, refused, grown = fuzz(tmp_path, seed, 10_000)
    assert read + refused == 10_000 and min(read, refused) > 400 and grown < 300_000


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("order", "<>")
def test_text_scalars(tmp_path: Path, protocol: int, order: str) -> None:
    """UCF101-24's pyannot.pkl has video names of numpy's text type as keys."""
    name = np.array(["Diving/v_Ünï_g01"], dtype=f"{order}U23")[0]
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({name: 1}, protocol))
    assert load_arrays(tmp_path / "a.pkl") == {"Diving/v_Ünï_g01": 1}
