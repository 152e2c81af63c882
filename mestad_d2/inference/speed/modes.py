"""Speed modes of a trained detector: precision, folded batch norm, memory layout, compilation (ours).

The last layers of the actor head, boxes, NMS, ROIAlign and the action classifier use float32 in every mode.
Backbone, key-frame FPN and the head's towers, which are most of the work, run in lower precision.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from detectron2.structures import ImageList, Instances
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.inference.speed.compiled import CompiledBackbone
from mestad_d2.inference.speed.engine import EngineBackbone, check_engine
from mestad_d2.inference.speed.folding import fold_batch_norm
from mestad_d2.inference.speed.pooling import ease_pooling

logger = logging.getLogger(__name__)

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class SpeedMode:
    """How a detector is run; ``SpeedMode()`` is eager float32, as in training.

    Attributes:
        precision: "fp32", "bf16" or "fp16".
        fold_bn: fold batch norm into the convolutions of the backbone.
        channels_last: channels-last layout; False leaves what the config has.
        compile: compile the backbone; takes up to a minute at the first clip of each size.
        engine: library that computes the backbone on a CPU: "torch", "openvino" or "onnxruntime". With OpenVINO,
            ``precision`` may also be "int8": the backbone in integers, calibrated on the first clips that come,
            the rest in float32.
    """

    precision: str = "fp32"
    fold_bn: bool = False
    channels_last: bool = False
    compile: bool = False
    engine: str = "torch"

    def __str__(self) -> str:
        parts = ("folded BN", self.fold_bn), ("channels last", self.channels_last), ("compiled", self.compile)
        parts = (*parts, (self.engine, self.engine != "torch"))
        return " + ".join([self.precision, *(name for name, used in parts if used)])


def default_mode(device: str | torch.device) -> SpeedMode:
    """Return the fastest mode that needs no compiler and is safe on ``device``."""
    kind = torch.device(device).type
    if kind == "cuda":
        precision = "fp16"
    else:
        precision = "bf16" if kind == "cpu" and cpu_has_bf16() else "fp32"
    return SpeedMode(precision, fold_bn=True, channels_last=True)


def cpu_has_bf16() -> bool:
    """Return whether this CPU multiplies in bfloat16 (AVX-512 BF16 or AMX); elsewhere bf16 is slower than fp32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in probes)


def prepare_for_inference(model: nn.Module, mode: SpeedMode | None = None) -> nn.Module:
    """Return a copy of a detector that runs in ``mode``; the model itself is unchanged.

    Args:
        model: a ``MESTAD`` on its device, in either train or eval mode.
        mode: by default ``default_mode`` of the model's device.

    Returns:
        the copy in eval mode, without gradients; it is called as the model is and returns float32.

    Raises:
        UserError: an unknown precision, or one that the device can't compute in.
    """
    device = model.device.type
    mode = default_mode(device) if mode is None else mode
    _check(mode, device)
    fast = copy.deepcopy(model).eval().requires_grad_(False)
    if mode.fold_bn:
        fold_batch_norm(fast.backbone)
    if mode.channels_last:
        _channels_last(fast)
    if mode.precision in ("bf16", "fp16"):
        _lower_precision(fast, DTYPES[mode.precision], device, backbone=mode.engine == "torch")
    if mode.engine != "torch":
        fast.backbone = EngineBackbone(fast.backbone, mode.engine, mode.precision)
    elif mode.compile:
        ease_pooling(fast.backbone)
        fast.backbone = CompiledBackbone(fast.backbone)
    return fast


def with_backbone(model: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Return a detector that shares all parts of ``model`` except the backbone, which is ``change(backbone)``.

    Precision and compilation of a prepared model stay around the new backbone.
    """
    other = copy.copy(model)
    other._modules = dict(model._modules)
    other.backbone = _changed(model.backbone, change)
    return other


def _changed(part: nn.Module, change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    if isinstance(part, CompiledBackbone):
        return part.around(_changed(part.inner, change))
    if isinstance(part, LowerPrecision):
        other = copy.copy(part)
        other._modules = {"inner": _changed(part.inner, change)}
        return other
    return change(part)


def innermost(backbone: nn.Module) -> nn.Module:
    """Return the backbone itself, without the wrappers of a speed mode."""
    while isinstance(backbone, CompiledBackbone | LowerPrecision):
        backbone = backbone.inner
    return backbone


def uncompiled(backbone: nn.Module) -> nn.Module:
    """Return the backbone in its precision, without compiler or engine around it."""
    return backbone.inner if isinstance(backbone, CompiledBackbone) else backbone


def _check(mode: SpeedMode, device: str) -> None:
    if mode.engine != "torch":
        check_engine(mode.engine, mode.precision)
        if device != "cpu":
            raise UserError(f"engine {mode.engine} is for the CPU; use engine torch on {device}")
        if mode.compile:
            raise UserError(f"engine {mode.engine} compiles by itself; leave --compile out")
        return
    if mode.precision == "int8":
        raise UserError("precision int8 needs engine openvino; name --engine openvino")
    if mode.precision not in DTYPES:
        raise UserError(f"precision {mode.precision!r} is unknown; use one of {', '.join(DTYPES)}")
    if mode.precision == "fp16" and device == "cpu":
        raise UserError("precision fp16 needs a GPU; use bf16 or fp32 on a CPU")
    if mode.precision == "bf16" and device == "cpu" and not cpu_has_bf16():
        logger.warning("this CPU has no bfloat16 instructions: precision fp32 would be faster than bf16")


def _channels_last(model: nn.Module) -> None:
    model.memory_format = torch.channels_last_3d
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for part in filter(None, (model.backbone, model.keyframe_path, model.fpn, model.proposal_generator)):
        for parameter in part.parameters():
            if parameter.dim() in formats:
                parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])


class LowerPrecision(nn.Module):
    """A part that computes in ``dtype``; with ``float_output`` its one tensor or dict of them is float32."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype, device: str, *, float_output: bool) -> None:
        super().__init__()
        self.inner, self.dtype, self.device, self.float_output = inner, dtype, device, float_output
        # Autocast alone would convert the weights anew for every clip. Norms stay in float32.
        for layer in inner.modules():
            if isinstance(layer, LAYERS):
                layer.to(dtype)

    def forward(self, x: Tensor | dict) -> Tensor | dict:
        """Run the part in lower precision."""
        with torch.autocast(self.device, dtype=self.dtype):
            result = self.inner(x)
        if not self.float_output:
            return result
        return result.float() if torch.is_tensor(result) else {name: t.float() for name, t in result.items()}


class FloatFeatures(nn.Module):
    """ROI heads that see the stage they use in float32."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(
        self, images: ImageList, features: dict[str, list[Tensor]], *args: list[Instances] | None
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Run the heads on float features, with their own arguments."""
        used = [getattr(self.inner, "in_feature", None)]
        used = used if used[0] in features else list(features)
        return self.inner(images, {name: [x.float() for x in features[name]] for name in used}, *args)


def _lower_precision(model: nn.Module, dtype: torch.dtype, device: str, *, backbone: bool) -> None:
    if backbone:
        model.backbone = LowerPrecision(model.backbone, dtype, device, float_output=False)
    model.roi_heads = FloatFeatures(model.roi_heads)
    if model.fpn is None:
        return
    if model.keyframe_path is not None:
        model.keyframe_path = LowerPrecision(model.keyframe_path, dtype, device, float_output=False)
    model.fpn = LowerPrecision(model.fpn, dtype, device, float_output=True)
    head = getattr(model.proposal_generator, "head", None)
    for name in ("cls_tower", "box_tower"):
        if hasattr(head, name):
            setattr(head, name, LowerPrecision(getattr(head, name), dtype, device, float_output=True))
