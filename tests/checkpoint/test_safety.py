"""Files from the net: nothing in them runs, and a broken one is one clear line."""

from __future__ import annotations

import builtins
import os
import pickle
import struct
import sys

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mestad_d2.checkpoint import UnreadableCheckpoint, read_checkpoint
from mestad_d2.errors import UserError
from mestad_d2.formats.safe_pickle import load_arrays


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, call, *args):
        self.call, self.args = call, args

    def __reduce__(self):
        return self.call, self.args


def attacks(marker):
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    return {
        "os.system": Evil(os.system, command),
        "eval": Evil(builtins.eval, code),
        "exec": Evil(builtins.exec, code),
        "getattr": Evil(builtins.getattr, "x", "upper"),
        "numpy call": Evil(np.load, str(marker)),
        "open": Evil(builtins.open, str(marker), "w"),
        "memmap": Evil(np.memmap, str(marker), "uint8", "w+", 0, (4,)),
        "ndarray of objects": np.array([Evil(os.system, command)], dtype=object),
    }


NAMES = sorted(attacks("x"))


def refused(path):
    """The one line with which a file is refused."""
    with pytest.raises(UnreadableCheckpoint) as caught:
        read_checkpoint(path)
    line = str(caught.value)
    assert isinstance(caught.value, UserError)
    assert "\n" not in line and str(path) in line and len(line) < 400
    return line


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize("name", NAMES)
def test_a_malicious_pickle_is_refused_and_not_run(name, protocol, tmp_path):
    marker = tmp_path / "ran"
    path = tmp_path / "weights.pkl"
    content = {"blobs": {"conv1_w": np.zeros(3, np.float32), "x": attacks(marker)[name]}}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    assert "nothing of it was run" in refused(path)
    assert not marker.exists()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", [name for name in NAMES if name != "ndarray of objects"])
def test_a_malicious_torch_file_is_refused_and_not_run(name, zipped, tmp_path):
    marker = tmp_path / "ran"
    path = tmp_path / "weights.pyth"
    content = {"model_state": {"a": torch.zeros(1)}, "x": attacks(marker)[name]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert "nothing of it was run" in refused(path)
    assert not marker.exists()


def test_a_global_by_another_road_is_refused(tmp_path):
    """STACK_GLOBAL, GLOBAL, INST and extension codes, written by hand."""
    marker = tmp_path / "ran"
    command = f"touch {marker}".encode()
    programs = {
        "inst": b"(S'" + command + b"'\nios\nsystem\n.",
        "global": b"cos\nsystem\n(S'" + command + b"'\ntR.",
        "dotted": b"\x80\x04\x8c\x05numpy\x8c\x0fcore.os.systems\x93.",
        "extension": b"\x80\x02\x82\x01.",
        "persistent": b"Pabc\n.",
        "codec": b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.",
        "build": b"c_codecs\nencode\n(dS'a'\nS'b'\nsb.",
        "dtype": b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR.",
        "ndarray": b"cnumpy\nndarray\n((I4\ntS'O'\ntR.",
    }
    for name, program in programs.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(program)
        refused(path)
    assert not marker.exists()


def good_files(folder):
    state = {"s1.pathway0_stem.conv.weight": torch.randn(64, 3, 1, 7, 7)}
    torch.save({"model_state": state}, folder / "zip.pyth")
    torch.save({"model_state": state}, folder / "old.pyth", _use_new_zipfile_serialization=False)
    blobs = {"conv1_w": np.random.default_rng(0).normal(size=(8, 3, 1, 7, 7)).astype(np.float32)}
    (folder / "c2.pkl").write_bytes(pickle.dumps({"blobs": blobs}, protocol=2))
    return [folder / name for name in ("zip.pyth", "old.pyth", "c2.pkl")]


def test_every_truncation_is_one_line(tmp_path):
    for path in good_files(tmp_path):
        whole = path.read_bytes()
        assert read_checkpoint(path)
        for share in (0, 1, 2, 10, 40, 200, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:share])
            refused(path)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=200))
def test_noise_is_one_line(noise, tmp_path):
    path = tmp_path / "noise.pkl"
    path.write_bytes(noise)
    try:
        assert isinstance(read_checkpoint(path), dict)
    except UnreadableCheckpoint as error:
        assert "\n" not in str(error)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    array=arrays.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, np.dtype(">f4")]),
        arrays.array_shapes(min_dims=1, max_dims=4, min_side=0),
    ),
    fortran=st.booleans(),
    protocol=st.integers(0, 5),
)
def test_arrays_come_back_as_they_were(protocol, array, fortran, tmp_path):
    array = np.asfortranarray(array) if fortran and array.ndim else array
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": [array, array[..., :0], np.float32(2.5), 3]}, protocol=protocol))
    back = load_arrays(path)["a"]
    assert back[0].dtype == array.dtype
    np.testing.assert_array_equal(back[0], array)
    assert back[1].shape == array[..., :0].shape and back[2] == np.float32(2.5) and back[3] == 3


def test_a_pickle_of_python_2_reads(tmp_path):
    """Written by hand as Python 2 does it: byte strings, numpy.core."""
    raw = struct.pack("<2f", 1.5, -200.25)
    program = (
        b"\x80\x02}U\x05blobs}U\x07conv1_wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + raw + b"tbss."
    )
    (tmp_path / "py2.pkl").write_bytes(program)
    np.testing.assert_array_equal(
        read_checkpoint(tmp_path / "py2.pkl")["blobs"]["conv1_w"], np.array([1.5, -200.25], np.float32)
    )


def test_things_that_are_no_weights(tmp_path):
    (tmp_path / "list.pkl").write_bytes(pickle.dumps([1, 2]))
    assert "not a dict" in refused(tmp_path / "list.pkl")
    (tmp_path / "page.pyth").write_text("<html>404 not found</html>")
    assert "no weights file" in refused(tmp_path / "page.pyth")
    deep = b"(" * 3000 + b"l" * 3000 + b"."
    (tmp_path / "deep.pkl").write_bytes(deep)
    refused(tmp_path / "deep.pkl")
    (tmp_path / "loop.pkl").write_bytes(b"}q\x00U\x01ah\x00s.")
    refused(tmp_path / "loop.pkl")
    refused(tmp_path)


def test_a_safetensors_file_whatever_its_name_and_a_broken_one_is_one_line(tmp_path):
    library = pytest.importorskip("safetensors.torch", reason="the extra vivit has safetensors")
    state = {"a": torch.randn(2, 3), "b": torch.arange(4), "c": torch.randn(2).half()}
    path = tmp_path / "weights.bin"
    library.save_file(state, path, metadata={"format": "pt"})
    back = read_checkpoint(path)
    assert back.keys() == state.keys() and all(torch.equal(back[key], state[key]) for key in state)
    whole = path.read_bytes()
    header = int.from_bytes(whole[:8], "little")
    broken = [whole[:share] for share in (*range(1, 12), 60, 8 + header, len(whole) - 1)]
    broken.append(whole + b"more")
    broken.append(whole[:20] + b"}" + whole[21:])
    broken.append(whole[:8] + b"{" * header + whole[8 + header :])
    for content in broken:
        path.write_bytes(content)
        refused(path)


def test_without_the_package_safetensors_one_line_says_so(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2) + b"{}")
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    assert "needs the package safetensors; pip install safetensors" in refused(path)
