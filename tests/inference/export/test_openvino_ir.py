"""The detector as OpenVINO IR gives what eager gives; in integers, nearly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from detectron2.modeling import build_model
from tiny import tiny_cfg
from torch import nn

from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.export.check import compare
from mestad_d2.inference.export.files import clip_metadata
from mestad_d2.inference.export.model import ExportableDetector
from mestad_d2.inference.export.openvino_ir import export_ir, load_ir

openvino = pytest.importorskip("openvino")
pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    model = build_model(
        tiny_cfg("MODEL.FCOS.PRIOR_PROB", 0.5, "MODEL.PROPOSALS.SCORE_THRESH_TEST", 0.3)
    ).eval()
    nn.init.constant_(model.proposal_generator.head.distances.bias, 2.0)
    return model


def noise(height: int, width: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (3, 4, height, width), generator=generator, dtype=torch.uint8)


def test_floats_are_equal_at_any_size_and_the_file_says_how_clips_are_made(
    model: nn.Module, tmp_path: Path
) -> None:
    metadata = clip_metadata(tiny_cfg(), ActionNames({1: "sit"}))
    export_ir(ExportableDetector(model), noise(64, 80, 0), tmp_path / "m.xml", metadata)
    parity = compare(model, load_ir(tmp_path / "m.xml", 1), [noise(64, 80, 1), noise(96, 64, 2)])
    assert parity.holds and parity.people > 0, parity
    said = openvino.Core().read_model(tmp_path / "m.xml").get_rt_info("mestad").astype(str)
    assert json.loads(said)["offsets"] == metadata["offsets"]


def test_integers_in_the_backbone_alone(model: nn.Module, tmp_path: Path) -> None:
    pytest.importorskip("nncf")
    clips = [noise(64, 80, seed) for seed in range(3)]
    export_ir(ExportableDetector(model), clips[0], tmp_path / "m.xml", {}, clips)
    ops = openvino.Core().read_model(tmp_path / "m.xml").get_ops()
    fakes = [op for op in ops if op.get_type_name() == "FakeQuantize"]
    assert len(fakes) > 10
    quantised = {
        i.get_node().get_friendly_name() for op in fakes for o in op.outputs() for i in o.get_target_inputs()
    }
    assert all("/backbone/" in name for name in quantised if "Conv" in name)
    found = load_ir(tmp_path / "m.xml", 1)(clips[1])
    wanted = model.inference([{"clip": clips[1]}], do_postprocess=False)[0]
    assert abs(len(found[0]) - len(wanted)) <= 2
    assert abs(float(found[2].mean()) - float(wanted.pred_actions.mean())) < 0.02


def test_a_name_without_xml_is_refused(model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ends with .xml"):
        export_ir(ExportableDetector(model), noise(64, 80, 0), tmp_path / "m.bin", {})


def test_a_failed_export_leaves_the_old_files(model: nn.Module, tmp_path: Path) -> None:
    for name in ("m.xml", "m.bin"):
        (tmp_path / name).write_text("before")

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("basic_ios::clear: iostream error")

    with pytest.raises(UserError, match="not written"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino, "save_model", fail)
        export_ir(ExportableDetector(model), noise(64, 80, 0), tmp_path / "m.xml", {})
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"m.xml": "before", "m.bin": "before"}
    export_ir(ExportableDetector(model), noise(64, 80, 0), tmp_path / "m.xml", {})
    assert {p.name for p in tmp_path.iterdir()} == {"m.xml", "m.bin"}
    assert compare(model, load_ir(tmp_path / "m.xml", 1), [noise(64, 80, 1)]).holds
