"""What to change when a weights file does not fill the backbone."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from mestad_d2.checkpoint.key_translation import BACKBONE
from mestad_d2.checkpoint.report import LoadReport

ALLOW = "set MODEL.WEIGHTS_ALLOW_MISSING True to go on regardless"
SHAPES = re.compile(r"shape \((?P<have>[\d, ]*)\) in the file, \((?P<want>[\d, ]*)\) in the model")


def hint(report: LoadReport) -> str:
    """Return the likeliest reason and the config key to set, in one clause."""
    missing = [key.removeprefix(BACKBONE) for key in report.missing]
    loaded = [key.removeprefix(BACKBONE) for key in report.loaded]
    pathways = {key.split(".")[0] for key in loaded}
    if any(key.startswith("fast.") for key in missing) and "fast" not in pathways:
        return f"the file is of a slow-only model: set MODEL.WEIGHTS_SLOW_INTO_SLOWFAST True, or {ALLOW}"
    if missing and all(key.startswith("mvit.") for key in missing):
        return (
            f"it is another MViT: try another MODEL.VIDEO_BACKBONE.VARIANT (mestad_d2/config.py), or {ALLOW}"
        )
    for key, why in report.dropped.items():
        found = SHAPES.search(why)
        if found and len(have := _ints(found["have"])) == 5 and len(want := _ints(found["want"])) == 5:
            if have[2] != want[2]:
                kernels = f"temporal kernel {have[2]}, the model {want[2]}"
                return f"{key} has {kernels}: {_kernel_key(key)}, or {ALLOW}"
    if any("non_local" in key for key in missing) and not any("non_local" in key for key in loaded):
        return f"the file has no non-local blocks: empty MODEL.NONLOCAL.LOCATIONS, or {ALLOW}"
    if missing and all(re.match(r"laterals\.\w+\.norm\.", key) for key in missing):
        return f"its lateral connections have no norm: set MODEL.SLOWFAST.FUSION_NORM False, or {ALLOW}"
    if missing and all(key.startswith("x3d.blocks.1.res_blocks.0.branch1_norm.") for key in missing):
        return f"its first shortcut has no norm: set MODEL.VIDEO_BACKBONE.SHORTCUT_NORM False, or {ALLOW}"
    if missing and all(re.search(r"\.res_blocks\.", key) for key in missing):
        return f"the file has other blocks: check MODEL.VIDEO_RESNET.DEPTH, or {ALLOW}"
    return ALLOW


def untrained(report: LoadReport, model: Mapping[str, Tensor]) -> str:
    """Explain in one clause why the weights are not a usable detector, and what to set."""
    head = [key for key in report.new if key.endswith("classifier.bias")]
    for key, why in report.dropped.items():
        found = SHAPES.search(why)
        if found and key.split(".")[-2:] == ["classifier", "bias"] and head:
            have, want = _ints(found["have"])[0], model[head[0]].shape[0]
            return (
                f"its action head has {have} actions, the config {want}; set MODEL.ROI_ACTION_HEAD.NUM_CLASSES "
                f"{have}, or give the config that it was trained with"
            )
    parts = sorted({key.split(".")[0] for key in report.new})
    return (
        f"no trained detector: {len(report.new)} tensors of {', '.join(parts)} are not in it (such as "
        f"{report.new[0]}); give weights that were trained with this config, or {ALLOW}"
    )


def _ints(text: str) -> list[int]:
    return [int(part) for part in text.replace(" ", "").split(",") if part]


def _kernel_key(key: str) -> str:
    if re.search(r"fus|lateral|subsample", key):
        return "set MODEL.SLOWFAST.FUSION_KERNEL"
    return "set MODEL.VIDEO_RESNET.TEMPORAL_KERNELS or TEMPORAL_BLOCKS"
