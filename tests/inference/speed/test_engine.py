"""Other libraries compute the backbone that torch computes; what they can't do is said in a line."""

from __future__ import annotations

import pytest
import torch
from detectron2.modeling import build_model
from tiny import fake_input, tiny_cfg
from torch import nn

from mestad_d2.errors import UserError
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.speed import engine as engine_module
from mestad_d2.inference.speed.modes import SpeedMode, prepare_for_inference
from mestad_d2.video.stream import StreamFrame

SURE = [
    "MODEL.FCOS.SCORE_THRESH_TEST", -1.0, "MODEL.FCOS.NMS_THRESH_TEST", 1.0,
    "MODEL.FCOS.POST_NMS_TOPK_TEST", 10, "MODEL.FCOS.PRIOR_PROB", 0.5,
]  # fmt: skip
SLOW_FAST = [
    "MODEL.BACKBONE.NAME", "build_slowfast_backbone", "INPUT.CLIP.NUM_FRAMES", 8, "MODEL.SLOWFAST.ALPHA", 4,
    "MODEL.SLOWFAST.BETA_INV", 2,
]  # fmt: skip


def detector(*options: object) -> tuple[object, nn.Module]:
    cfg = tiny_cfg(*SURE, *options)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm3d)):
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.5, 2)
    return cfg, model


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("options", [[], SLOW_FAST], ids=["slow", "slowfast"])
def test_an_engine_gives_torch_s_features(engine: str, options: list) -> None:
    for package in engine_module.PACKAGES[engine]:
        pytest.importorskip(package)
    cfg, model = detector(*options)
    clip = fake_input([], frames=cfg.INPUT.CLIP.NUM_FRAMES)
    fast = prepare_for_inference(model, SpeedMode("fp32", fold_bn=True, engine=engine))
    wanted, found = (m([clip])[0]["instances"] for m in (model, fast))
    assert fast.backbone.works and len(fast.backbone._runs) == 1
    torch.testing.assert_close(found.pred_boxes.tensor, wanted.pred_boxes.tensor, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.pred_actions, wanted.pred_actions, atol=1e-5, rtol=0)


def test_a_pass_runs_in_an_engine() -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    cfg, model = detector(*SLOW_FAST, "INPUT.MIN_SIZE_TEST", 64)
    noise = torch.randint(0, 256, (40, 64, 80, 3), dtype=torch.uint8).numpy()
    film = [StreamFrame(i / 30, image) for i, image in enumerate(noise)]
    predictors = [
        VideoPredictor(cfg, model, mode="pass", speed=SpeedMode("fp32", fold_bn=True, engine=engine))
        for engine in ("torch", "onnxruntime")
    ]
    wanted, found = (list(predictor.predict(film)) for predictor in predictors)
    assert len(wanted) == len(found) > 1
    assert predictors[1].segments.model.backbone._runs
    for a, b in zip(wanted, found, strict=True):
        torch.testing.assert_close(torch.tensor(a.actions), torch.tensor(b.actions), atol=1e-5, rtol=0)


def test_integers_are_near_floats() -> None:
    pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    _, model = detector()
    clip = fake_input([])
    fast = prepare_for_inference(model, SpeedMode("int8", fold_bn=True, engine="openvino"))
    wanted, found = (m([clip])[0]["instances"] for m in (model, fast))
    assert fast.backbone.works
    gap = (found.pred_actions.mean(0) - wanted.pred_actions.mean(0)).abs().max()
    assert 0 < float(gap) < 0.02


def test_attention_keeps_more_of_its_precision() -> None:
    openvino, nncf = pytest.importorskip("openvino"), pytest.importorskip("nncf")
    fast = torch.backends.mha.get_fastpath_enabled()
    # One fused operation, which OpenVINO does not read.
    torch.backends.mha.set_fastpath_enabled(False)
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(32, 4, 64, batch_first=True, norm_first=True).eval()
    clip = torch.randn(1, 49, 32) * torch.linspace(0.2, 4, 32)
    try:
        model = openvino.convert_model(layer, example_input=clip, input=[tuple(clip.shape)])
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    plain = nncf.quantize(
        model, nncf.Dataset([clip.numpy()]), subset_size=1, preset=nncf.QuantizationPreset.MIXED
    )
    ours = engine_module.quantised(model, [clip.numpy()])
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    wanted = layer(clip).detach().numpy()
    off = [
        float(abs(openvino.Core().compile_model(m, "CPU", settings)(clip.numpy())[0] - wanted).mean())
        for m in (plain, ours)
    ]
    assert 0 < off[1] < 0.9 * off[0]


def test_an_engine_that_fails_leaves_the_work_to_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no kernel\nfor this")

    monkeypatch.setattr(engine_module, "_onnxruntime", broken)
    monkeypatch.setattr(engine_module, "PACKAGES", {"onnxruntime": ()})
    _, model = detector()
    fast = prepare_for_inference(model, SpeedMode(engine="onnxruntime"))
    with caplog.at_level("WARNING"):
        for _ in range(2):
            found = fast([fake_input([])])[0]["instances"]
    torch.testing.assert_close(found.pred_actions, model([fake_input([])])[0]["instances"].pred_actions)
    assert [r.message for r in caplog.records if "runs in torch" in r.message] == [
        "the backbone runs in torch: onnxruntime can't take it (no kernel)"
    ]


@pytest.mark.parametrize(
    ("mode", "message"),
    [
        (SpeedMode("int8"), "precision int8 needs engine openvino"),
        (SpeedMode(engine="tensorrt"), "engine 'tensorrt' is unknown"),
        (SpeedMode("bf16", engine="onnxruntime"), "engine onnxruntime computes in fp32, not in bf16"),
        (SpeedMode("fp32", compile=True, engine="onnxruntime"), "leave --compile out"),
    ],
)
def test_what_does_not_go_together_is_one_line(mode: SpeedMode, message: str) -> None:
    _, model = detector()
    with pytest.raises(UserError, match=message):
        prepare_for_inference(model, mode)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "PACKAGES", {"openvino": ("no_such_package",)})
    with pytest.raises(UserError, match="engine openvino: pip install no_such_package"):
        engine_module.check_engine("openvino", "fp32")
