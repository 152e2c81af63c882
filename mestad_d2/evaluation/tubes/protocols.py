"""The conventions in which published evaluators of tubes and frames differ, as named fields."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mestad_d2.errors import UserError

# The ten thresholds are built one by one: a running sum misses 0.6.
AVERAGED = tuple(0.5 + 0.05 * i for i in range(10))
THRESHOLDS: dict[str, tuple[float, ...]] = {
    "0.2": (0.2,),
    "0.5": (0.5,),
    "0.75": (0.75,),
    "0.5:0.95": AVERAGED,
}

# Left out by MultiSports, by exact name: https://github.com/MCG-NJU/MultiSports, evaluate_multisports.py
MULTISPORTS_EXCLUDED = frozenset(
    {
        "aerobic kick jump",
        "aerobic off axis jump",
        "aerobic butterfly jump",
        "aerobic balance turn",
        "basketball save",
        "basketball jump ball",
    }
)


@dataclass(frozen=True)
class NMS:
    """Suppression inside the evaluator: overlaps above ``iou`` are removed, or ``soft``: score x (1 - IoU)."""

    iou: float
    soft: bool = False


@dataclass(frozen=True)
class Rules:
    """Conventions of one evaluator, for tubes or for frames.

    Attributes:
        pixels: "inclusive": a box is x2 - x1 + 1 wide; "continuous": x2 - x1; "shifted": gurkirt's, whose
            detections are moved by a pixel and a pixel larger than the ground truth.
        rounded: boxes are rounded to whole pixels first.
        time: temporal IoU of tubes. "frames": (e - s + 1) / (E - S + 1) of first and last frames;
            "span": (e - s) / (E - S); "present": over the frames that have a box (gaps don't count).
        one_frame: whether tubes that share exactly one frame overlap.
        holes: frames missing inside the common span: "error": the published code raises; "zero": overlap 0.
        undefined: IoU of two boxes without area: "zero", or "nan", which as a best overlap never matches.
        nms: suppression before matching, or None.
        taken: a detection whose best ground truth is taken: "rest" tries those that are left, "false" is a
            false positive.
        strict: IoU must be above the threshold, not at it.
        curve: "voc": area under the precision envelope; "trapezoid": under the raw curve from (0, 1).
        recall_epsilon: added to the number of ground truths in the recall.
        only_detections: a class with detections and no ground truth: "error": the published code raises;
            "left_out" of the mean; "zero".
        absent: a class with neither: "left_out" or "zero".
        excluded: class names that are not evaluated.
        order: rows before the stable sort by score: "file"; "video"; "frame" (video, frame); "name" (names
            of the frames' files, sorted); "video_score" (best first inside each video, then by score in
            float32).
    """

    pixels: str = "continuous"
    rounded: bool = False
    time: str = "present"
    one_frame: bool = True
    holes: str = "zero"
    undefined: str = "zero"
    nms: NMS | None = None
    taken: str = "rest"
    strict: bool = False
    curve: str = "voc"
    recall_epsilon: float = 0.0
    only_detections: str = "left_out"
    absent: str = "left_out"
    excluded: frozenset[str] = frozenset()
    order: str = "file"


@dataclass(frozen=True)
class Protocol:
    """A published evaluator by name: its rules for ``video`` tubes and ``frame`` boxes, and its source."""

    name: str
    video: Rules
    frame: Rules
    source: str


_OURS = Rules()
_ACT = Rules(
    pixels="inclusive",
    time="frames",
    holes="error",
    undefined="nan",
    curve="trapezoid",
    only_detections="error",
    absent="zero",
)
_MULTISPORTS = Rules(
    time="span",
    holes="error",
    undefined="nan",
    taken="false",
    excluded=MULTISPORTS_EXCLUDED,
)
_YOWOV2 = Rules(
    pixels="inclusive",
    time="frames",
    one_frame=False,
    holes="error",
    undefined="nan",
    recall_epsilon=1e-5,
    only_detections="zero",
    absent="zero",
)
_GURKIRT = Rules(
    pixels="shifted",
    time="frames",
    one_frame=False,
    holes="error",
    undefined="nan",
    strict=True,
    only_detections="zero",
    absent="zero",
    order="video_score",
)

PROTOCOLS = {
    p.name: p
    for p in (
        Protocol("ours", _OURS, _OURS, "mestad_d2, docs/tubes.md"),
        Protocol(
            "act",
            replace(_ACT, nms=NMS(0.3), order="video"),
            replace(_ACT, nms=NMS(0.3), order="frame"),
            "vkalogeiton/caffe act-detector a431461",
        ),
        Protocol(
            "moc",
            replace(_ACT, nms=NMS(0.3), order="video"),
            replace(_ACT, nms=NMS(0.6, soft=True), order="frame"),
            "MCG-NJU/MOC-Detector 45c3fd0",
        ),
        Protocol("act_core", _ACT, _ACT, "ACT and MOC without their suppression"),
        Protocol("multisports", _MULTISPORTS, _MULTISPORTS, "MCG-NJU/MultiSports a29e291"),
        Protocol(
            "yowov2",
            _YOWOV2,
            Rules(pixels="inclusive", rounded=True, taken="false", order="name"),
            "yjh0410/YOWOv2 9e8d23c",
        ),
        Protocol(
            "gurkirt",
            _GURKIRT,
            Rules(undefined="nan", only_detections="zero", absent="zero", order="frame"),
            "gurkirt/realtime-action-detection 9dd8e1b: get_PR_curve.m, and evaluation.py for frames",
        ),
    )
}
# Other names of the same evaluators.
ALIASES = {
    "act_moc": "act",
    "act_moc_core": "act_core",
    "mmaction2": "multisports",
    "yowov2_core": "yowov2",
    "rtad_py": "gurkirt",
}


def get_protocol(name: str) -> Protocol:
    """Return the protocol of that name.

    Raises:
        UserError: there is none of that name.
    """
    known = ALIASES.get(name, name)
    if known not in PROTOCOLS:
        raise UserError(f"protocol {name!r} is unknown; choose one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[known]
