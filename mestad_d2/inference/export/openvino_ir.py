"""The exported detector as OpenVINO IR, in float32 or with its backbone in integers (ours)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from mestad_d2.errors import UserError
from mestad_d2.formats.files import atomic_files, not_written
from mestad_d2.inference.export.files import METADATA, OUTPUTS, export, need
from mestad_d2.inference.export.model import ExportableDetector
from mestad_d2.inference.speed.engine import quantised

# What the exporter calls the layers of the backbone begins with this; all others keep their floats.
BACKBONE = "/backbone/"


def export_ir(
    detector: ExportableDetector,
    clip: Tensor,
    path: str | os.PathLike[str],
    metadata: dict,
    calibration: Sequence[Tensor] = (),
) -> None:
    """Write the detector as ``path`` (.xml) and the .bin file beside it.

    Args:
        detector: on the CPU.
        clip: (3, T, H, W) uint8 that the detector is traced with; T stays fixed, H and W do not.
        path: of the .xml file; its folder must exist.
        metadata: written into the file as JSON under the name ``mestad``.
        calibration: clips of the user's own; with any, the backbone is quantised to int8 by what it computes on them.

    Raises:
        UserError: the path has another suffix or no folder, or the optional packages are not installed.
    """
    need("openvino")
    import openvino

    if Path(path).suffix != ".xml":
        raise UserError(
            f"{path}: OpenVINO wants a name that ends with .xml; the weights go into .bin beside it"
        )
    if not Path(path).absolute().parent.is_dir():
        raise UserError(f"{path}: there is no such folder; make it first")
    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "detector.onnx"
        export(detector, clip, onnx, "onnx", metadata)
        model = openvino.convert_model(onnx)
        text = _metadata_text(onnx)
    if calibration:
        model = _quantised(model, calibration)
    model.set_rt_info(text, METADATA)
    with atomic_files(path) as aside:
        try:
            openvino.save_model(model, str(aside), compress_to_fp16=False)
        except RuntimeError as error:
            # OpenVINO's only word on a full disk is "iostream error".
            raise UserError(not_written(Path(path), error)) from error


def load_ir(path: str | os.PathLike[str], threads: int = 0) -> Callable[[Tensor], list]:
    """Load a file of ``export_ir`` as a function clip -> [boxes, scores, actions] (arrays), in float32."""
    need("openvino")
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)

    def run(clip: Tensor) -> list[np.ndarray]:
        found = compiled(np.ascontiguousarray(clip.numpy()))
        return [np.array(found[name]) for name in OUTPUTS]

    return run


def _quantised(model: object, clips: Sequence[Tensor]) -> object:
    need("nncf")
    names = [node.get_friendly_name() for node in model.get_ops()]
    outside = [name for name in names if not name.startswith(BACKBONE)]
    if len(outside) == len(names):
        raise UserError("int8: no layer of the file is named as the backbone's; use format openvino")
    return quantised(model, [clip.numpy() for clip in clips], outside)


def _metadata_text(path: Path) -> str:
    import onnx

    return next(p.value for p in onnx.load(str(path)).metadata_props if p.key == METADATA)
