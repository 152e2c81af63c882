"""Writing an exportable detector as ONNX or TorchScript, with what its user must know inside the file (ours)."""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from detectron2.config import CfgNode
from torch import Tensor, nn

from mestad_d2.errors import UserError
from mestad_d2.formats.files import atomic_files
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.arguments import FORMATS
from mestad_d2.inference.export.model import ExportableDetector
from mestad_d2.video.clips import clip_offsets

# RoiAlign with the half-pixel shift of ROIAlignV2 came with opset 16.
OPSET = 17
OUTPUTS = ("boxes", "scores", "actions")
METADATA = "mestad"
# protobuf holds at most 2 GiB; weights of larger models go into a file beside, whose name ends with WEIGHTS.
EXTERNAL_BYTES = 2**31 - 2**24
WEIGHTS = ".weights"
DYNAMIC = {"clip": {2: "height", 3: "width"}, **{name: {0: "people"} for name in OUTPUTS}}


def clip_metadata(cfg: CfgNode, names: ActionNames) -> dict:
    """Return how clips are made for the exported detector, and the meaning of its action columns.

    Returns:
        ``offsets``: seconds of the T frames from the key frame; ``short_side`` and ``max_size`` of frames in
        pixels; ``resize``: how (``INPUT.CLIP.RESIZE``); ``actions``: id -> name (column = id - 1; ids
        without a name are no classes).
    """
    clip, count = cfg.INPUT.CLIP, cfg.MODEL.ROI_ACTION_HEAD.NUM_CLASSES
    rate = 0 if clip.STILL else clip.SAMPLING_RATE
    return {
        "offsets": clip_offsets(clip.NUM_FRAMES, rate, clip.FPS).tolist(),
        "short_side": cfg.INPUT.MIN_SIZE_TEST,
        "max_size": cfg.INPUT.MAX_SIZE_TEST,
        "resize": cfg.INPUT.CLIP.RESIZE,
        "actions": {i: names[i] for i in range(1, count + 1) if names.shown(i)},
    }


def export(
    detector: ExportableDetector, clip: Tensor, path: str | os.PathLike[str], format: str, metadata: dict
) -> None:
    """Write the detector to a file.

    Args:
        detector: on the CPU.
        clip: (3, T, H, W) uint8 that the detector is traced with; T stays fixed, H and W do not, unless the
            detector has a ``fixed_size``: then the file refuses clips of other sizes, and the metadata has ``size``.
        path: of the file; its folder must exist.
        format: "onnx" or "torchscript".
        metadata: written into the file as JSON under the name ``mestad``.

    Raises:
        UserError: an unknown format, no such folder, a full disk, or the optional packages are not installed.
    """
    if format not in FORMATS:
        raise UserError(f"format {format!r} is unknown; use one of {', '.join(FORMATS)}")
    if not Path(path).absolute().parent.is_dir():
        raise UserError(f"{path}: there is no such folder; make it first")
    if detector.fixed_size:
        metadata = {**metadata, "size": list(clip.shape[2:])}
    write = {"onnx": _write_onnx, "torchscript": _write_torchscript}[format]
    # An old file stays as it is until the new one is complete.
    with atomic_files(path) as aside, warnings.catch_warnings(), torch.no_grad():
        # Tracers warn of asserts and of constants, and that they are deprecated; the parity check says more.
        warnings.simplefilter("ignore")
        write(detector, clip, aside, json.dumps(metadata))
    if format == "onnx":
        _remove_old_weights(Path(path))


def _write_onnx(detector: ExportableDetector, clip: Tensor, path: Path, metadata: str) -> None:
    need("onnx")
    import onnx

    # The exporter that traces: torch.export's, default since 2.9, stops at this module.
    old = {"dynamo": False} if "dynamo" in inspect.signature(torch.onnx.export).parameters else {}
    # The exporter puts each weight of a large model into a file of its own; they are joined below.
    traced = path.parent / "traced" / path.name
    traced.parent.mkdir()
    layout, detector.memory_format = detector.memory_format, torch.contiguous_format
    try:
        torch.onnx.export(
            detector,
            (clip,),
            str(traced),
            input_names=["clip"],
            output_names=list(OUTPUTS),
            dynamic_axes={
                name: axes for name, axes in DYNAMIC.items() if name != "clip" or not detector.fixed_size
            },
            opset_version=OPSET,
            **old,
        )
    finally:
        detector.memory_format = layout
    model = onnx.load(traced)
    shutil.rmtree(traced.parent)
    onnx.helper.set_model_props(model, {METADATA: metadata})
    if sum(len(weight.raw_data) for weight in model.graph.initializer) > EXTERNAL_BYTES:
        # A name of its own for each export: an old file keeps its weights until the new one takes its place.
        beside = f"{path.name}.{uuid.uuid4().hex[:8]}{WEIGHTS}"
        onnx.save(model, path, save_as_external_data=True, location=beside)
    else:
        onnx.save(model, path)
    onnx.checker.check_model(str(path))


def _remove_old_weights(path: Path) -> None:
    """Remove the files of weights that an export before wrote beside ``path`` and that no longer belong to it."""
    import onnx

    path = Path(os.path.realpath(path))
    model = onnx.load(path, load_external_data=False)
    used = {entry.value for weight in model.graph.initializer for entry in weight.external_data}
    own = re.compile(re.escape(path.name) + r"\.[0-9a-f]{8}" + re.escape(WEIGHTS))
    for file in path.parent.iterdir():
        if own.fullmatch(file.name) and file.name not in used:
            file.unlink()


class _OneSize(nn.Module):
    """A traced detector that refuses clips of another size, for which its constants would be wrong."""

    def __init__(self, traced: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.traced, self.height, self.width = traced, height, width

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if clip.size(2) != self.height or clip.size(3) != self.width:
            raise ValueError(f"this file takes clips of {self.height}x{self.width} pixels alone")
        return self.traced(clip)


def _write_torchscript(detector: ExportableDetector, clip: Tensor, path: Path, metadata: str) -> None:
    script = torch.jit.trace(detector, (clip,), check_trace=False)
    if detector.fixed_size:
        script = torch.jit.script(_OneSize(script, clip.shape[2], clip.shape[3]))
    # Into memory first: torch's own writer raises no OSError where the disk is full.
    content = io.BytesIO()
    torch.jit.save(script, content, _extra_files={METADATA: metadata})
    path.write_bytes(content.getbuffer())


def load_exported(path: str | os.PathLike[str], format: str, threads: int = 0) -> Callable[[Tensor], list]:
    """Load an exported file as a CPU function clip -> [boxes, scores, actions] (arrays).

    Args:
        path: as given to ``export``; ``format`` as well.
        threads: that onnxruntime computes with; 0: its default.
    """
    if format == "torchscript":
        script = torch.jit.load(str(path), map_location="cpu")
        return lambda clip: [out.numpy() for out in script(clip)]
    need("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda clip: session.run(None, {"clip": np.ascontiguousarray(clip.numpy())})


def need(package: str) -> None:
    """Raise a ``UserError`` unless the optional package is installed."""
    if importlib.util.find_spec(package) is None:
        raise UserError(f"{package} is not installed; pip install {package}")
