"""Command-line arguments shared by tools that run a trained detector."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from mestad_d2.errors import UserError, counted

# Nothing heavy is imported with this module: a program's --help needs no torch.
if TYPE_CHECKING:
    import torch
    from detectron2.config import CfgNode

    from mestad_d2.inference.speed.modes import SpeedMode

# What tools/export_model.py writes: by torch's exporters, and OpenVINO's intermediate representation.
FORMATS = ("onnx", "torchscript")
IR_FORMATS = ("openvino", "openvino-int8")
INPUTS = (
    "videos, folders of videos or of one video's frames, patterns in quotes ('clips/*.mp4'), rtsp:// or http(s):// "
    "addresses, - for a list on stdin"
)


def add_detector_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--config-file`` or ``--published``, ``--weights`` and ``--labels``: the model and its action names."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--config-file", help="the config that the model was trained with")
    which.add_argument(
        "--published", metavar="NAME", help="a published action detector by its name below configs/published/"
    )
    parser.add_argument("--weights", metavar="FILE", help="weights; the same as --opts MODEL.WEIGHTS FILE")
    add_import_argument(parser)
    parser.add_argument("--labels", help="label map, pbtxt or csv; default: the one of DATASETS.TEST")


def add_import_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--import``: the user's own code that registers parts."""
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="FILE",
        help="python file or module that registers parts which a config or an option names; may be given several times",
    )


def import_named(names: Sequence[str]) -> None:
    """Import what ``--import`` names, in tools that need no model.

    Raises:
        UserError: one of them is missing or fails.
    """
    if names:
        # Imported here: it loads torch, which an evaluation of files can do without.
        from mestad_d2.load_config import import_extensions

        import_extensions(names)


def add_persons_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--persons`` and ``--persons-weights``: a person detector instead of the model's own."""
    group = parser.add_argument_group("person detector")
    group.add_argument(
        "--persons",
        metavar="NAME:MODEL",
        help="take the people's boxes from torchvision:MODEL, detectron2:CONFIG, transformers:FOLDER or csv:FILE; "
        "default: the model's own person head",
    )
    group.add_argument(
        "--persons-weights", metavar="FILE", help="weights of that detector; default: the library's own"
    )


def detector_config(args: argparse.Namespace, more: Sequence[str] = ()) -> CfgNode:
    """Return the frozen config of the command line, with ``more`` options KEY VALUE after its own.

    Raises:
        UserError: see ``get_config_file``, ``setup_cfg`` and ``use_persons``.
    """
    from mestad_d2.inference.person_detector.sources import use_persons
    from mestad_d2.load_config import import_extensions, setup_cfg
    from mestad_d2.model_zoo import get_config_file

    import_extensions(args.imports)
    file = get_config_file(f"published/{args.published}") if args.published else args.config_file
    cfg = setup_cfg(file, [*args.opts, *more], freeze=False)
    if args.weights:
        cfg.MODEL.WEIGHTS = args.weights
    if getattr(args, "max_people", None) is not None:
        if args.max_people < 1:
            raise UserError(f"--max-people {args.max_people}: give at least 1")
        cfg.MODEL.PROPOSALS.POST_NMS_TOPK_TEST = args.max_people
    if getattr(args, "persons", None):
        use_persons(cfg, args.persons, args.persons_weights)
    cfg.freeze()
    return cfg


def add_people_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--max-people``, for ``detector_config``."""
    parser.add_argument(
        "--max-people",
        type=int,
        metavar="N",
        help="people on a key frame, at most; the same as MODEL.PROPOSALS.POST_NMS_TOPK_TEST, which is 10 in most configs",
    )


def note_on_limit(cfg: CfgNode, counts: Iterable[int]) -> str | None:
    """Return a note if the limit of people per key frame was reached, else None.

    Args:
        cfg: of the run.
        counts: people found on each key frame, of whatever score.
    """
    limit = cfg.MODEL.PROPOSALS.POST_NMS_TOPK_TEST
    full = sum(count >= limit for count in counts)
    if not full or cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES != "proposals":
        return None
    on = counted(full, "key frame")
    return f"{limit} people, which is the limit, on {on}; there may be more: raise it with --max-people N"


def note_on_nobody(cfg: CfgNode, counts: Sequence[int]) -> str | None:
    """Return a note if no key frame of a run has a person, else None. Arguments as for ``note_on_limit``."""
    boxes, persons = cfg.MODEL.ROI_ACTION_HEAD.TEST_BOXES, cfg.MODEL.PERSON_DETECTOR
    if not counts or any(counts):
        return None
    nobody = f"nobody was found on {counted(len(counts), 'key frame')}"
    if boxes == "proposals":
        score = cfg.MODEL.PROPOSALS.SCORE_THRESH_TEST
        return f"{nobody}; people are taken from MODEL.PROPOSALS.SCORE_THRESH_TEST {score:g} on"
    if persons.NAME != "csv":
        return (
            f"{nobody}; people are taken from MODEL.PERSON_DETECTOR.SCORE_THRESH {persons.SCORE_THRESH:g} on"
        )
    return f"{nobody}; the times in the file of boxes must be those of the key frames, to 0.001 s"


def add_rate_argument(parser: argparse.ArgumentParser, default: float = 1.0) -> None:
    """Add ``--keyframes-per-second``."""
    parser.add_argument(
        "--keyframes-per-second",
        type=float,
        default=default,
        help="how often actions are detected (%(default)s)",
    )


def add_window_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--start`` and ``--end``, for ``check_window``."""
    parser.add_argument(
        "--start", type=float, default=0.0, metavar="S", help="first second of each film that is looked at"
    )
    parser.add_argument(
        "--end", type=float, default=float("inf"), metavar="S", help="second of each film before which to end"
    )


def add_stream_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--stream``, for ``open_source``."""
    parser.add_argument(
        "--stream",
        type=int,
        metavar="N",
        help="which picture stream of files that have several, from 0; default: the one marked as default, then the largest",
    )


def check_window(args: argparse.Namespace) -> None:
    """Refuse a window that holds nothing.

    Raises:
        UserError: ``--start`` is below 0, or not before ``--end``.
    """
    if not 0 <= args.start < args.end:
        raise UserError(
            f"--start {args.start:g} --end {args.end:g}: give seconds, 0 or more, the start before the end"
        )


def check_streams(args: argparse.Namespace, inputs: Iterable[str]) -> None:
    """Refuse a window of a stream, which has no beginning to count from.

    Raises:
        UserError: an input is an address, and ``--start`` or ``--end`` is given.
    """
    from mestad_d2.video.live.address import is_address, shown_address

    streams = [shown_address(place) for place in inputs if is_address(place)]
    if streams and (args.start, args.end) != (0.0, float("inf")):
        raise UserError(f"{streams[0]}: --start and --end are for films; watch a stream for --seconds")


def add_tubes_argument(parser: argparse.ArgumentParser) -> None:
    """Add ``--tubes``."""
    parser.add_argument(
        "--tubes",
        action="store_true",
        help="also link the detections into tubes: who does what from when to when, and where (docs/tubes.md)",
    )


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--opts``, which takes all following arguments."""
    parser.add_argument(
        "--opts",
        nargs=argparse.REMAINDER,
        default=[],
        help="config options KEY VALUE ..., last of all: MODEL.WEIGHTS model.pth",
    )


def add_speed_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--mode``; ``--precision``, ``--compile`` and ``--fold-bn``, for ``mode_of_arguments``."""
    group = parser.add_argument_group("speed")
    group.add_argument(
        "--mode",
        choices=("clip", "pass"),
        default="clip",
        help="pass: run the backbone once over long segments of film, not once a key frame (%(default)s)",
    )
    group.add_argument(
        "--precision",
        choices=("fp32", "bf16", "fp16", "int8"),
        help="default: bf16 where the CPU has it, fp16 on a GPU, else fp32; int8 with --engine openvino only",
    )
    group.add_argument(
        "--fold-bn",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="fold batch norm into convolutions (default: yes)",
    )
    group.add_argument(
        "--compile", action="store_true", help="compile the backbone: the first clip takes up to a minute"
    )
    group.add_argument(
        "--engine",
        choices=("torch", "openvino", "onnxruntime"),
        default="torch",
        help="library that computes the backbone on a CPU (%(default)s)",
    )


def mode_of_arguments(args: argparse.Namespace, device: str | torch.device) -> SpeedMode:
    """Return the mode of a command line, or the device's default."""
    from mestad_d2.inference.speed.modes import SpeedMode, default_mode

    default = default_mode(device)
    # onnxruntime has no bfloat16 on CPUs.
    usual = "fp32" if args.engine == "onnxruntime" else default.precision
    return SpeedMode(
        precision=args.precision or usual,
        fold_bn=default.fold_bn if args.fold_bn is None else args.fold_bn,
        channels_last=default.channels_last,
        compile=args.compile,
        engine=args.engine,
    )
