"""Weights to detect with are a trained detector's, whole and finite, however their file wraps them."""

from __future__ import annotations

import io
import logging
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from tiny import tiny_cfg
from torch import nn

from mestad_d2.checkpoint import MESTADCheckpointer, UnreadableCheckpoint, read_checkpoint
from mestad_d2.checkpoint.write import DIGEST, digest, is_damaged, save_whole
from mestad_d2.errors import UserError
from mestad_d2.inference.predictor import load_model


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """A tiny detector of the toy's 12 actions."""
    torch.manual_seed(0)
    return build_model(tiny_cfg())


def loads(path: Path, model: nn.Module) -> bool:
    """Whether a file brings every tensor of the model."""
    loaded = load_model(tiny_cfg("MODEL.WEIGHTS", path)).state_dict()
    return all(torch.equal(tensor, loaded[key]) for key, tensor in model.state_dict().items())


def refusal(path: Path, *opts: object) -> str:
    """The one line with which weights are refused for detection."""
    with pytest.raises(UserError) as error:
        load_model(tiny_cfg("MODEL.WEIGHTS", path, *opts))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_weights() -> None:
    with pytest.raises(UserError, match=r"^MODEL\.WEIGHTS is empty: give the trained weights"):
        load_model(tiny_cfg())
    # Who wants a random detector says so.
    assert load_model(tiny_cfg("MODEL.WEIGHTS_ALLOW_MISSING", True))


def test_another_number_of_classes(model: nn.Module, tmp_path: Path) -> None:
    save_whole({"model": model.state_dict()}, tmp_path / "w.pth")
    said = refusal(tmp_path / "w.pth", "MODEL.ROI_ACTION_HEAD.NUM_CLASSES", 3)
    assert "has 12 actions, the config 3; set MODEL.ROI_ACTION_HEAD.NUM_CLASSES 12" in said


@pytest.mark.parametrize("part", ["backbone.", "fpn.", "proposal_generator.", "roi_heads."])
def test_a_part_is_missing(model: nn.Module, tmp_path: Path, part: str) -> None:
    state = {key: value for key, value in model.state_dict().items() if not key.startswith(part)}
    save_whole({"model": state}, tmp_path / "w.pth")
    assert part.rstrip(".") in refusal(tmp_path / "w.pth") or part == "backbone."
    only = {key: value for key, value in model.state_dict().items() if key.startswith(part)}
    save_whole({"model": only}, tmp_path / "w.pth")
    refusal(tmp_path / "w.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite(model: nn.Module, tmp_path: Path, value: float) -> None:
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    key = "roi_heads.predictor.classifier.weight"
    state[key][0, 0] = value
    torch.save({"model": state}, tmp_path / "w.pth")
    assert f"{key} is not finite" in refusal(tmp_path / "w.pth")
    # Nor are they saved.
    broken = build_model(tiny_cfg())
    broken.load_state_dict(state)
    with pytest.raises(UnreadableCheckpoint, match="no longer finite; there is no good checkpoint before it"):
        MESTADCheckpointer(broken, str(tmp_path)).save("model_0000003")
    assert not (tmp_path / "model_0000003.pth").exists()


def test_wrappers(model: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = model.state_dict()
    arrays = {key: value.numpy() for key, value in state.items()}
    compiled = {key.replace("backbone.", "backbone._orig_mod."): value for key, value in state.items()}
    average = {f"module.{key}": value for key, value in state.items()} | {"n_averaged": torch.tensor(4)}
    other = {key: torch.zeros_like(value) for key, value in state.items()}
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}
    contents = {
        "bare": dict(state),
        "model_state_dict": {"model_state_dict": state, "optimizer": optimizer, "epoch": 3},
        "net": {"net": state, "best": np.float64(0.5)},
        "params": {"params": state, "params_ema": other},
        "ema": {"ema": state, "optimizer": optimizer},
        "ema beside": {"state_dict": state, "ema": other},
        "nested": {"model": {"state_dict": state}, "args": {"lr": 0.1}},
        "compiled": {"model": {f"_orig_mod.{key}": value for key, value in state.items()}},
        "compiled part": {"model": compiled},
        "both": {"model": {f"module._orig_mod.{key}": value for key, value in state.items()}},
        "lightning": {"state_dict": {f"model.{key}": value for key, value in state.items()}, "epoch": 1},
        "averaged": {"model": average},
        "arrays": {"model": arrays, "numpy": np.random.RandomState(0).get_state()},
    }
    for name, content in contents.items():
        path = tmp_path / f"{name}.pth"
        torch.save(content, path)
        with caplog.at_level(logging.INFO):
            caplog.clear()
            assert loads(path, model), name
        if name in ("params", "ema", "ema beside", "nested"):
            assert "weights under" in caplog.text, name
    (tmp_path / "p.pkl").write_bytes(pickle.dumps({"model": arrays, "best": np.float64(0.5)}))
    assert loads(tmp_path / "p.pkl", model)


def test_which_state_dict_is_taken_is_said(
    model: nn.Module, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    torch.save({"ema": model.state_dict(), "params": model.state_dict()}, tmp_path / "w.pth")
    with caplog.at_level(logging.INFO):
        assert loads(tmp_path / "w.pth", model)
    assert "weights under 'params' are taken; ema left" in caplog.text


@pytest.mark.parametrize("zipped", [True, False])
def test_numpys_values_in_a_torch_file(tmp_path: Path, zipped: bool) -> None:
    content = {
        "model": {"a": torch.arange(3.0)},
        "scalars": [np.float64(0.31), np.int32(-4), np.bool_(True), np.float32(1.5)],
        "state": np.random.RandomState(0).get_state(),
        "big endian": np.arange(6, dtype=">f4").reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "empty": np.zeros((0, 3)),
        "tuple": (1, {"x": np.uint8(7)}),
    }
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=zipped)
    found = read_checkpoint(tmp_path / "w.pth")
    assert found["scalars"] == [0.31, -4, True, 1.5]
    assert [type(value) for value in found["scalars"]] == [float, int, bool, float]
    for key in ("big endian", "fortran", "empty"):
        np.testing.assert_array_equal(found[key], content[key])
    np.testing.assert_array_equal(found["state"][1], content["state"][1])
    assert found["tuple"] == (1, {"x": 7})


@pytest.mark.parametrize(
    "value",
    [np.array(["text"]), np.array([None]), np.zeros(2, dtype=[("a", "f4")]), np.datetime64("2020-01-01")],
)
def test_arrays_that_are_no_numbers_are_refused(tmp_path: Path, value: object) -> None:
    torch.save({"model": {"a": torch.zeros(1)}, "x": value}, tmp_path / "w.pth")
    with pytest.raises(UnreadableCheckpoint, match="refused, because it holds an array of type"):
        read_checkpoint(tmp_path / "w.pth")


def rezipped(content: dict, path: Path, compression: int, old: bytes = b"", new: bytes = b"") -> None:
    """A torch file with its parts packed again, and bytes of its pickle replaced."""
    file = io.BytesIO()
    torch.save(content, file)
    with zipfile.ZipFile(file) as source, zipfile.ZipFile(path, "w", compression) as target:
        for entry in source.infolist():
            part = source.read(entry)
            target.writestr(
                entry.filename,
                part.replace(old, new) if entry.filename.endswith("data.pkl") and old else part,
            )


def test_sizes_in_a_torch_file_are_compared_with_the_files_own(tmp_path: Path) -> None:
    path, zeros = tmp_path / "w.pth", {"model": {"a": torch.zeros(300)}}
    rezipped(zeros, path, zipfile.ZIP_STORED)
    assert read_checkpoint(path)["model"]["a"].shape == (300,)
    # Packed, it would unfold into more than the file has bytes.
    rezipped(zeros, path, zipfile.ZIP_DEFLATED)
    with pytest.raises(UnreadableCheckpoint, match="its parts are larger than the file"):
        read_checkpoint(path)
    # 300 and 600 as the pickle writes them: the size of the storage and of the tensor.
    rezipped(zeros, path, zipfile.ZIP_STORED, b"M\x2c\x01", b"M\x58\x02")
    with pytest.raises(UnreadableCheckpoint, match="truncated or no weights file"):
        read_checkpoint(path)
    # One value seen a million times is a view of four bytes.
    torch.save({"model": {"a": torch.zeros(1).expand(2**20)}}, path)
    with pytest.raises(UnreadableCheckpoint, match="1048576 values in 4 bytes"):
        read_checkpoint(path)


def test_a_checkpoint_proves_itself(tmp_path: Path) -> None:
    content = {"model": {"a": torch.arange(4.0), "b": torch.ones(2, dtype=torch.bfloat16)}, "lr": [0.1, None]}
    save_whole(content, tmp_path / "w.pth")
    read = read_checkpoint(tmp_path / "w.pth")
    assert read[DIGEST] == digest(content) and not is_damaged(read)
    changed = [
        {**read, "lr": [0.2, None]},
        {**read, "model": {**read["model"], "a": torch.tensor([0.0, 1.0, 2.0, 4.0])}},
        {**read, "model": {**read["model"], "a": read["model"]["a"].reshape(2, 2)}},
        {**read, "model": {"b": read["model"]["b"], "c": read["model"]["a"]}},
    ]
    assert all(map(is_damaged, changed))
    # Bytes of a tensor, whose place in the file is known by its value.
    whole = (tmp_path / "w.pth").read_bytes()
    place = whole.index(torch.arange(4.0).numpy().tobytes())
    (tmp_path / "w.pth").write_bytes(whole[:place] + b"\x01" + whole[place + 1 :])
    with pytest.raises(UnreadableCheckpoint, match="damaged|truncated"):
        read_checkpoint(tmp_path / "w.pth")
    # A key of that name in files of others is none of ours.
    torch.save({"model": {"a": torch.zeros(1)}, "digest": "abc"}, tmp_path / "w.pth")
    assert read_checkpoint(tmp_path / "w.pth")["digest"] == "abc"
