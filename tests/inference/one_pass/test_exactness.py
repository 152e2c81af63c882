"""What one pass finds is what clips find where time is not mixed, and what a clip of the whole film finds where it is."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from detectron2.modeling import build_model
from tiny import tiny_cfg
from torch import nn

from mestad_d2.errors import UserError
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.speed.modes import SpeedMode
from mestad_d2.modeling.backbone.segment import SegmentBackbone, WindowExcitation
from mestad_d2.people import People
from mestad_d2.video.stream import StreamFrame

SURE = [
    "MODEL.FCOS.SCORE_THRESH_TEST",
    -1.0,
    "MODEL.FCOS.NMS_THRESH_TEST",
    1.0,
    "MODEL.FCOS.POST_NMS_TOPK_TEST",
    20,
]
SLOW_FAST = [
    "MODEL.BACKBONE.NAME", "build_slowfast_backbone", "INPUT.CLIP.NUM_FRAMES", 8, "INPUT.CLIP.SAMPLING_RATE", 2,
    "MODEL.SLOWFAST.ALPHA", 4, "MODEL.SLOWFAST.BETA_INV", 2,
]  # fmt: skip
X3D = [
    "MODEL.BACKBONE.NAME", "build_x3d_backbone", "MODEL.VIDEO_BACKBONE.VARIANT", "s",
    "MODEL.VIDEO_BACKBONE.WIDTH", 4, "MODEL.VIDEO_BACKBONE.STAGE_BLOCKS", [1, 1, 1, 1],
]  # fmt: skip
NO_TIME = ["MODEL.VIDEO_RESNET.TEMPORAL_KERNELS", [1, 1, 1, 1, 1]]
NO_TIME_FAST = [
    *NO_TIME,
    "MODEL.SLOWFAST.FAST_TEMPORAL_KERNELS",
    [1, 1, 1, 1, 1],
    "MODEL.SLOWFAST.FUSION_KERNEL",
    1,
]
# What the pass itself computes, before it is brought to clips' features.
UNCALIBRATED = ["TEST.PASS_CALIBRATION_CLIPS", 0]
REPEAT = ["MODEL.VIDEO_RESNET.TEMPORAL_PADDING", "repeat"]
KEYFRAME_PATH = ["MODEL.FPN.KEYFRAME_PATH.WIDTH", 8]
NON_LOCAL = ["MODEL.NONLOCAL.LOCATIONS", [[], [], [0], []], "MODEL.NONLOCAL.POOL", [1, 2, 2]]


def film(frames: int, rate: float = 30.0, size: tuple[int, int] = (64, 96)) -> list[StreamFrame]:
    """Noise that drifts, so that neighbouring frames are alike and none are equal."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (frames + 8, *size, 3)).astype(np.float32)
    return [StreamFrame(i / rate, noise[i : i + 8].mean(axis=0).astype(np.uint8)) for i in range(frames)]


def detector(*options: object) -> tuple[object, nn.Module]:
    """A config and a detector with batch norms that do something."""
    cfg = tiny_cfg("INPUT.MIN_SIZE_TEST", 64, "MODEL.FCOS.PRIOR_PROB", 0.5, *SURE, *options)
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm3d)):
        norm.running_mean.normal_(0, 0.2)
        norm.running_var.uniform_(0.5, 2)
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, 0, 0.2)
    return cfg, model


def found(cfg: object, model: nn.Module, frames: list, **kwargs: object) -> list[People]:
    return list(VideoPredictor(cfg, model, **kwargs).predict(frames))


def assert_alike(one: list[People], other: list[People], atol: float = 1e-5) -> None:
    assert len(one) == len(other) > 0
    for a, b in zip(one, other, strict=True):
        assert a.timestamp == pytest.approx(b.timestamp, abs=1e-6)
        np.testing.assert_allclose(a.boxes, b.boxes, atol=100 * atol)
        np.testing.assert_allclose(a.scores, b.scores, atol=atol)
        np.testing.assert_allclose(a.actions, b.actions, atol=atol)


@pytest.mark.parametrize("speed", [None, SpeedMode(fold_bn=True, channels_last=True)], ids=str)
@pytest.mark.parametrize(
    ("options", "per_second"),
    [
        (NO_TIME, 7.5),
        ([*NO_TIME, *KEYFRAME_PATH], 7.5),
        # Twice the grid: the whole backbone runs on the frames between, too.
        (NO_TIME, 15.0),
        ([*SLOW_FAST, *NO_TIME_FAST], 3.75),
        # Every second and every frame of the fast pathway: more slow pathways over one fast one.
        ([*SLOW_FAST, *NO_TIME_FAST], 7.5),
        ([*SLOW_FAST, *NO_TIME_FAST, *KEYFRAME_PATH], 15.0),
        ([*SLOW_FAST, *NO_TIME_FAST], 30.0),
    ],
)
def test_without_kernels_over_time_both_modes_are_equal(
    options: list, per_second: float, speed: SpeedMode | None
) -> None:
    cfg, model = detector(*options)
    frames = film(36)
    clips = found(cfg, model, frames, keyframes_per_second=per_second)
    for seconds in (0.3, 8.0):
        passed = found(
            cfg,
            model,
            frames,
            keyframes_per_second=per_second,
            mode="pass",
            segment_seconds=seconds,
            speed=speed,
        )
        assert_alike(passed, clips)


@pytest.mark.parametrize(
    "options",
    [[], NON_LOCAL, SLOW_FAST, X3D, REPEAT],
    ids=["slow", "non-local", "slowfast", "x3d", "repeated ends"],
)
def test_a_pass_is_a_clip_of_the_whole_film_cut_out(options: list) -> None:
    """Against code that knows nothing of segments: the whole film as one clip, features cut out by hand."""
    cfg, model = detector(*options, *UNCALIBRATED)
    frames, clip = film(40), cfg.INPUT.CLIP
    spacing = clip.SAMPLING_RATE / clip.FPS
    stride = cfg.MODEL.SLOWFAST.ALPHA if "build_slowfast_backbone" in options else 1
    passed = found(cfg, model, frames, keyframes_per_second=1 / (spacing * stride), mode="pass")
    half = clip.NUM_FRAMES // 2
    count = int(39 / 30 / (spacing * stride)) + 1
    end = (count - 1) * stride + clip.NUM_FRAMES - half
    places = [min(max(round(i * clip.SAMPLING_RATE), 0), 39) for i in range(-half, end)]
    whole = torch.from_numpy(np.stack([frames[i].image for i in places])).permute(3, 0, 1, 2)
    backbone = SegmentBackbone(model.backbone, clip.NUM_FRAMES)
    with torch.no_grad():
        images = model.preprocess([whole])
        features = backbone.inner.forward_phases(images.tensor, (0,))[0]
        for number, keyframe in enumerate(passed):
            cut = {
                name: [
                    x[:, :, (number * stride) // s : (number * stride + clip.NUM_FRAMES) // s].contiguous()
                    for x, s in zip(pathways, model.backbone.time_strides, strict=True)
                ]
                for name, pathways in features.items()
            }
            wanted = model.detect(images, cut, [{"height": 64, "width": 96}])[0]["instances"]
            np.testing.assert_allclose(keyframe.boxes, wanted.pred_boxes.tensor, atol=1e-2)
            np.testing.assert_allclose(keyframe.actions, wanted.pred_actions, atol=1e-4)
    assert len(passed) == count


def test_a_film_of_one_clip_is_that_clip() -> None:
    for options in ([], NON_LOCAL, SLOW_FAST, X3D):
        cfg, model = detector(*options)
        clips = found(cfg, model, film(2))
        assert_alike(found(cfg, model, film(2), mode="pass"), clips)


def test_segments_differ_at_their_ends_only() -> None:
    """A pass in short segments is near one of the whole film, and the model that is given stays as it is."""
    cfg, model = detector(*UNCALIBRATED)
    before = copy.deepcopy(model.state_dict())
    whole, parts = (
        found(cfg, model, film(90), keyframes_per_second=7.5, mode="pass", segment_seconds=s) for s in (60, 1)
    )
    gaps = [np.abs(a.actions.mean(0) - b.actions.mean(0)).max() for a, b in zip(whole, parts, strict=True)]
    assert 0 < max(gaps) < 0.05
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())
    assert not [m for m in model.modules() if getattr(m, "window", 0)]


def test_the_window_of_an_excitation_is_a_clip() -> None:
    excite = WindowExcitation(nn.Identity())
    x = torch.randn(2, 3, 11, 4, 5)
    torch.testing.assert_close(excite(x), x * x.mean(dim=(2, 3, 4), keepdim=True))
    for window in (3, 4, 8):
        excite.window = window
        out = excite(x)
        for t in range(11):
            seen = x[:, :, max(t - window // 2, 0) : t - window // 2 + window].mean(dim=(2, 3, 4))
            torch.testing.assert_close(out[:, :, t], x[:, :, t] * seen[:, :, None, None])


def test_times_are_moved_to_the_grid_and_reported_as_they_are() -> None:
    cfg, model = detector(*SLOW_FAST)
    step = 4 * 2 / 30
    times = [f.timestamp for f in found(cfg, model, film(100), mode="pass")]
    assert times == pytest.approx([0, 4 * step, 7 * step, 11 * step])


def test_a_backbone_of_fixed_clips_says_so_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Fixed(nn.Module):
        """A detector whose backbone takes clips only."""

        def __init__(self, model: nn.Module) -> None:
            super().__init__()
            self.detector = model
            self.backbone = nn.Identity()

        def forward(self, inputs: list[dict]) -> list[dict]:
            return self.detector(inputs)

    cfg, model = detector()
    with caplog.at_level("WARNING"):
        passed = found(cfg, Fixed(model), film(40), keyframes_per_second=2, mode="pass")
    assert_alike(passed, found(cfg, model, film(40), keyframes_per_second=2))
    assert [r.message for r in caplog.records if "clip by clip" in r.message] == [
        "this backbone sees clips of a fixed length only: detections are made clip by clip"
    ]


def test_senseless_arguments_are_refused() -> None:
    cfg, model = detector()
    with pytest.raises(UserError, match="mode 'fast' is unknown; use one of clip, pass"):
        VideoPredictor(cfg, model, mode="fast")
    with pytest.raises(UserError, match="segment seconds"):
        VideoPredictor(cfg, model, mode="pass", segment_seconds=0)


def test_any_stage_may_feed_the_heads() -> None:
    cfg, model = detector("MODEL.ROI_ACTION_HEAD.IN_FEATURE", "res4", *NO_TIME)
    frames, rate = film(30), {"keyframes_per_second": 7.5}
    assert_alike(found(cfg, model, frames, mode="pass", **rate), found(cfg, model, frames, **rate))
