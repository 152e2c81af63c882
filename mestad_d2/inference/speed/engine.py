"""Run a backbone with another library on the CPU: OpenVINO or onnxruntime (ours).

Pyramid and heads stay in torch, so that every model of this project works, clip by clip and in one pass. The network is
converted for each clip size, as ``CompiledBackbone`` compiles for it.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from mestad_d2.errors import UserError
from mestad_d2.inference.speed.compiled import CompiledBackbone

if TYPE_CHECKING:
    import openvino

logger = logging.getLogger(__name__)

# Engine -> packages that it needs; int8 needs NNCF as well.
PACKAGES = {"openvino": ("openvino",), "onnxruntime": ("onnx", "onnxruntime")}
QUANTISER = "nncf"
OPSET = 17
# From clips (N, 3, T, H, W) to flat lists of features.
Run = Callable[[np.ndarray], list[np.ndarray]]


class _Flat(nn.Module):
    """A backbone whose features are one flat tuple, for tracers; ``spec`` tells how they were nested."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.spec: TreeSpec | None = None

    def forward(self, clips: Tensor) -> tuple[Tensor, ...]:
        """All tensors of the features of clips (N, 3, T, H, W)."""
        tensors, self.spec = tree_flatten(self.inner(clips))
        return tuple(tensors)


class EngineBackbone(CompiledBackbone):
    """The features of ``inner``, computed by ``engine`` where the clips' size is worth a translation.

    Args:
        inner: on the CPU, in float32.
        engine: one of ``PACKAGES``.
        precision: "fp32", "bf16" or "int8"; int8 is calibrated on the first clips that come.

    Raises:
        UserError: a package is not installed, or an engine that can't compute in this precision.
    """

    def __init__(self, inner: nn.Module, engine: str, precision: str) -> None:
        nn.Module.__init__(self)
        check_engine(engine, precision)
        self.inner, self.engine, self.precision = inner, engine, precision
        self.sizes, self.works = {}, True
        self._runs: dict[tuple[int, ...], tuple[Run, TreeSpec]] = {}

    def around(self, inner: nn.Module) -> EngineBackbone:
        """Return the same engine around another backbone."""
        return EngineBackbone(inner, self.engine, self.precision)

    def forward(self, clips: Tensor) -> dict[str, list[Tensor]]:
        """Compute the features of clips (N, 3, T, H, W); float32."""
        clips = clips.contiguous()
        shape = tuple(clips.shape)
        if shape not in self._runs:
            if not (self.works and self._worth(clips.shape)):
                return self.inner(clips)
            try:
                with warnings.catch_warnings(), torch.no_grad():
                    # Tracers warn of shapes that become constants: each size has a translation of its own.
                    warnings.simplefilter("ignore")
                    self._runs[shape] = self._translate(clips)
            except (RuntimeError, ValueError) as error:
                self.works = False
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                logger.warning("the backbone runs in torch: %s can't take it (%s)", self.engine, reason)
                return self.inner(clips)
        run, spec = self._runs[shape]
        return tree_unflatten([torch.from_numpy(x) for x in run(clips.numpy())], spec)

    def _translate(self, clips: Tensor) -> tuple[Run, TreeSpec]:
        flat = _Flat(self.inner).eval()
        run = {"openvino": _openvino, "onnxruntime": _onnxruntime}[self.engine](flat, clips, self.precision)
        return run, flat.spec


def check_engine(engine: str, precision: str) -> None:
    """Raise a ``UserError`` unless the engine is known, installed and able to compute in ``precision``."""
    from importlib.util import find_spec

    if engine not in PACKAGES:
        raise UserError(f"engine {engine!r} is unknown; use torch or one of {', '.join(PACKAGES)}")
    allowed = {"openvino": ("fp32", "bf16", "int8"), "onnxruntime": ("fp32",)}[engine]
    if precision not in allowed:
        raise UserError(
            f"engine {engine} computes in {', '.join(allowed)}, not in {precision}; name --precision"
        )
    needed = [*PACKAGES[engine], *([QUANTISER] if precision == "int8" else [])]
    if missing := [name for name in needed if find_spec(name) is None]:
        raise UserError(f"engine {engine}: pip install {' '.join(missing)}")


def _openvino(flat: _Flat, clips: Tensor, precision: str) -> Run:
    import openvino

    model = openvino.convert_model(flat, example_input=clips, input=[tuple(clips.shape)])
    if precision == "int8":
        model = quantised(model, [clips.numpy()])
    # Quantised networks keep float32 between their integer layers.
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(model, "CPU", settings)

    def run(given: np.ndarray) -> list[np.ndarray]:
        # Copied: the next clip's results take the same memory.
        return [np.array(x) for x in compiled(given).values()]

    return run


def quantised(
    model: openvino.Model, clips: Sequence[np.ndarray], outside: Sequence[str] = ()
) -> openvino.Model:
    """Quantise an OpenVINO network to 8-bit integers with NNCF, calibrated on a few clips.

    Args:
        model: takes a clip of pixels, as ``clips`` has them.
        clips: to calibrate on.
        outside: friendly names of the operations that stay in float32.
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    floats = set(outside)
    # Told of it, NNCF keeps more of attention: features of VideoMAE-B are off by half as much.
    attends = any(
        op.get_type_name() in ("ScaledDotProductAttention", "Softmax")
        and op.get_friendly_name() not in floats
        for op in model.get_ops()
    )
    return nncf.quantize(
        model,
        nncf.Dataset([np.ascontiguousarray(clip) for clip in clips]),
        subset_size=len(clips),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if attends else None,
        ignored_scope=nncf.IgnoredScope(names=list(floats), validate=False) if floats else None,
    )


def _onnxruntime(flat: _Flat, clips: Tensor, precision: str) -> Run:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "backbone.onnx")
        torch.onnx.export(flat, (clips,), path, input_names=["clips"], opset_version=OPSET, dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, {"clips": given})
