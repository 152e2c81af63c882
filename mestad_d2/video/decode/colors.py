"""Colours of decoded frames: tone mapping of HDR to SDR, and colour tags of written files."""

from __future__ import annotations

from functools import lru_cache

import av
import cv2
import numpy as np
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc

# ITU-R BT.2408: reference white of HDR in cd/m2; becomes the white of SDR.
WHITE = 203.0
# Peak of a display of HLG, in cd/m2, and the exponent of its OOTF (ITU-R BT.2100).
HLG_PEAK, HLG_GAMMA = 1000.0, 1.2
# ITU-R BT.2087: linear BT.2020 to linear BT.709.
TO_709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
    dtype=np.float32,
)
# Primaries as frames carry them (AVColorPrimaries).
BT2020 = 9
HDR = {ColorTrc.SMPTE2084: "PQ", ColorTrc.ARIB_STD_B67: "HLG"}


def hdr_kind(frame: av.VideoFrame) -> str | None:
    """Return ``PQ`` or ``HLG`` where a frame is HDR, else None."""
    try:
        return HDR.get(ColorTrc(frame.color_trc))
    except ValueError:
        return None


def tone_mapped(picture: np.ndarray, kind: str, wide: bool) -> np.ndarray:
    """Convert an HDR picture (H, W, 3) uint16 RGB to SDR (H, W, 3) uint8.

    Reference white becomes white; brighter colours keep their hue and are clipped.

    Args:
        picture: full range.
        kind: ``PQ`` or ``HLG``.
        wide: primaries of BT.2020, else of BT.709.
    """
    light = _light(kind)[picture]
    if kind == "HLG":
        luma = cv2.transform(light, np.array([[0.2627, 0.6780, 0.0593]], dtype=np.float32))
        light *= np.power(np.maximum(luma, 1e-6), HLG_GAMMA - 1)[..., None] * (HLG_PEAK / WHITE)
    if wide:
        light = cv2.transform(light, TO_709)
    light = np.maximum(light, 0.0)
    light /= np.maximum(light.max(axis=2, keepdims=True), 1.0)
    return _screen()[(light * 4095 + 0.5).astype(np.uint16)]


@lru_cache(maxsize=2)
def _light(kind: str) -> np.ndarray:
    """Linear light (65536,) float32 of each code: of PQ in units of ``WHITE``, of HLG of the scene in [0, 1]."""
    code = np.arange(65536) / 65535.0
    if kind == "PQ":
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = code ** (1 / m2)
        light = 10000.0 / WHITE * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    return light.astype(np.float32)


@lru_cache(maxsize=1)
def _screen() -> np.ndarray:
    """sRGB code (4096,) uint8 of linear light."""
    light = np.arange(4096) / 4095.0
    code = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (code * 255 + 0.5).astype(np.uint8)


def tag_as_bt709(stream: av.VideoStream) -> None:
    """Tag an output stream as BT.709, limited range."""
    codec = stream.codec_context
    codec.color_range, codec.colorspace = ColorRange.MPEG, Colorspace.ITU709
    codec.color_primaries, codec.color_trc = ColorPrimaries.BT709, ColorTrc.BT709


def to_bt709(picture: av.VideoFrame, width: int, height: int) -> av.VideoFrame:
    """Convert an RGB frame to yuv420p of BT.709, limited range, for a stream of ``tag_as_bt709``."""
    return picture.reformat(
        width, height, "yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG,
        dst_color_trc=ColorTrc.BT709, dst_color_primaries=ColorPrimaries.BT709, interpolation="AREA",
    )  # fmt: skip
