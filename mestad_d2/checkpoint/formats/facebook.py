"""Settings of PySlowFast's and Caffe2's video ResNets (the same networks) that no tensor shows."""

from __future__ import annotations

from typing import Any

import yaml

from mestad_d2.checkpoint.key_translation import Named

# Mean and deviation of the pixels that the models were trained on, RGB in 0..255.
PIXELS = ([114.75] * 3, [57.375] * 3)
# Frames that the pool after res2 joins, by PySlowFast's MODEL.ARCH.
TEMPORAL_POOL = {"c2d": 2, "i3d": 2, "slow_c2d": 1, "slow_i3d": 1, "slow": 1}


def expected(named: Named, detector: bool, aligned: bool | None = None) -> dict[str, Any]:
    """Return the settings that no tensor shows, and the preset that has them.

    Args:
        named: the file's tensors.
        detector: whether it is an action detector with a head that fits ours.
        aligned: whether detectors of this kind align their RoIs.
    """
    fast, depth = "fast.stem.conv.weight" in named.tensors, resnet_depth(named)
    found: dict[str, Any] = {"PIXEL_MEAN": PIXELS[0], "PIXEL_STD": PIXELS[1]}
    if not fast:
        found["VIDEO_RESNET.TEMPORAL_POOL"] = 2 if is_c2d(named) or is_i3d(named) else 1
    else:
        found |= {"SLOWFAST.FUSION_NORM": True, "SLOWFAST.FUSION_RELU": True}
    if non_local_in(named) and (detector or not (fast and depth == 101)):
        found["NONLOCAL.POOL"] = [2, 2, 2] if detector and fast else [1, 2, 2]
        found["NONLOCAL.POOL_FIRST"] = True
        found["NONLOCAL.INSTANTIATION"] = "softmax" if is_c2d(named) or is_i3d(named) else "dot_product"
    if detector:
        found |= {
            "VIDEO_RESNET.RES5_STRIDE": 1,
            "VIDEO_RESNET.RES5_DILATION": 2,
            "SLOWFAST.FAST_RES5_DILATION": 2,
            "SLOWFAST.SLOW_SAMPLING": "linspace",
            "ROI_ACTION_HEAD.POOLER_RESOLUTION": 7,
        }
        # The R50 configs that users train with align; the published models do not.
        found["ROI_ACTION_HEAD.POOLER_ALIGNED"] = depth == 50 if aligned is None else aligned
    return found


def preset(named: Named, aligned: bool) -> str:
    """Return the config below ``published/`` of a detector with these tensors."""
    if "fast.stem.conv.weight" not in named.tensors:
        return "pyslowfast/SLOW_8x8_R50_SHORT" if aligned else "pyslowfast/SLOW_4x16_R50"
    if resnet_depth(named) == 101:
        return "pyslowfast/SLOWFAST_32x2_R101_50_50"
    return "pyslowfast/SLOWFAST_32x2_R50_SHORT"


def resnet_depth(named: Named) -> int:
    """Return 101 where res4 has 23 blocks, else 50."""
    return 101 if "slow.res4.22.branch2.conv_a.weight" in named.tensors else 50


def non_local_in(named: Named) -> bool:
    """Return whether there are non-local blocks."""
    return any(".non_local." in name for name in named.tensors)


def _temporal(named: Named, name: str) -> int:
    weight = named.tensors.get(name)
    return weight.shape[2] if weight is not None and weight.ndim == 5 else 1


def is_c2d(named: Named) -> bool:
    """Return whether every convolution of the slow pathway sees a single frame."""
    kernels = [n for n in named.tensors if n.startswith("slow.") and n.endswith("branch2.conv_a.weight")]
    return bool(kernels) and all(_temporal(named, name) == 1 for name in kernels)


def is_i3d(named: Named) -> bool:
    """Return whether the stem sees five frames, as in I3D alone."""
    return "fast.stem.conv.weight" not in named.tensors and _temporal(named, "slow.stem.conv.weight") == 5


def from_dump(text: str, detector: bool) -> dict[str, Any]:
    """Return settings from the config that PySlowFast writes into its ``.pyth`` files; empty where there is none."""
    try:
        given = yaml.safe_load(text)
        found: dict[str, Any] = {
            "PIXEL_MEAN": [255 * v for v in given["DATA"]["MEAN"]],
            "PIXEL_STD": [255 * v for v in given["DATA"]["STD"]],
            "NONLOCAL.POOL": given["NONLOCAL"]["POOL"][0][0],
            "NONLOCAL.INSTANTIATION": given["NONLOCAL"]["INSTANTIATION"],
        }
        if given["MODEL"]["ARCH"] in TEMPORAL_POOL:
            found["VIDEO_RESNET.TEMPORAL_POOL"] = TEMPORAL_POOL[given["MODEL"]["ARCH"]]
        if given["MODEL"]["ARCH"] == "slowfast":
            found["SLOWFAST.ALPHA"] = given["SLOWFAST"]["ALPHA"]
        if detector:
            dilations = given["RESNET"]["SPATIAL_DILATIONS"][-1]
            found |= {
                "VIDEO_RESNET.RES5_STRIDE": given["RESNET"]["SPATIAL_STRIDES"][-1][0],
                "VIDEO_RESNET.RES5_DILATION": dilations[0],
                "SLOWFAST.FAST_RES5_DILATION": dilations[-1],
                "ROI_ACTION_HEAD.POOLER_ALIGNED": given["DETECTION"]["ALIGNED"],
            }
    except (yaml.YAMLError, KeyError, IndexError, TypeError):
        return {}
    return found
