#!/usr/bin/env python
"""Export the whole detector to one ONNX or TorchScript file: clip in; boxes, person and action scores out."""

# ruff: noqa: E402  (arguments are read before the libraries are imported, which takes seconds)
from __future__ import annotations

import argparse
import itertools
from pathlib import Path

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.inference.arguments import (
    FORMATS,
    IR_FORMATS,
    add_config_options,
    add_detector_arguments,
    detector_config,
)
from mestad_d2.process_setup import start_quickly


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_detector_arguments(parser)
    parser.add_argument("--format", choices=(*FORMATS, *IR_FORMATS), required=True)
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--calibrate",
        nargs="+",
        default=[],
        metavar="VIDEO",
        help="videos whose clips openvino-int8 is fitted to",
    )
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        metavar=("H", "W"),
        help="clips' size in pixels, of backbones whose files take one size alone (transformers); default: --compare's",
    )
    parser.add_argument("--compare", metavar="VIDEO", help="compare numbers and speed with eager on a video")
    parser.add_argument(
        "--clips",
        type=int,
        default=10,
        help="clips that are compared, and that each --calibrate video gives (%(default)s)",
    )
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each side, in turns (%(default)s)")
    add_config_options(parser)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    ARGUMENTS = parse()
    start_quickly()

import torch

from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.inference.action_names import action_names
from mestad_d2.inference.export.check import compare, speed
from mestad_d2.inference.export.files import clip_metadata, export, load_exported, need
from mestad_d2.inference.export.model import ExportableDetector
from mestad_d2.inference.export.openvino_ir import export_ir, load_ir
from mestad_d2.inference.predictor import VideoPredictor, load_model
from mestad_d2.video.clips import clip_tensor


@one_line_errors()
def main(args: argparse.Namespace) -> int:
    """Export and compare. Returns 0, or 1 if the file's numbers differ from eager's."""
    if min(args.clips, args.runs) < 1:
        raise UserError("--clips and --runs must be at least 1")
    if args.format == "onnx":
        for package in ("onnx", "onnxruntime") if args.compare else ("onnx",):
            need(package)
    if args.format in IR_FORMATS:
        for package in ("openvino", "onnx") if args.format == "openvino" else ("openvino", "onnx", "nncf"):
            need(package)
    if bool(args.calibrate) != (args.format == "openvino-int8"):
        raise UserError("--calibrate: give videos with --format openvino-int8, and with no other format")
    cfg = detector_config(args, ["MODEL.DEVICE", "cpu"])
    refuse_overwriting_inputs(
        [args.config_file, args.labels, args.compare, *args.calibrate, cfg.MODEL.WEIGHTS], [args.output]
    )
    model = load_model(cfg)
    detector = ExportableDetector(model)
    predictor = VideoPredictor(cfg, model, keyframes_per_second=2)

    def some_clips(video: str) -> list[torch.Tensor]:
        return [clip_tensor(clip.frames) for clip in itertools.islice(predictor.clips(video), args.clips)]

    clips = some_clips(args.compare) if args.compare else []
    side = cfg.INPUT.MIN_SIZE_TEST
    generator = torch.Generator().manual_seed(0)
    # Traced with noise of a shape unlike the video's, so that the comparison shows sizes to be free.
    size = (side, side + side // 4)
    if detector.fixed_size:
        size = tuple(args.size or (clips[0].shape[2:] if clips else size))
    elif args.size:
        raise UserError("--size: the file takes clips of any size; leave it out")
    shape = (3, cfg.INPUT.CLIP.NUM_FRAMES, *size)
    noise = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    metadata = clip_metadata(cfg, action_names(cfg, args.labels))
    if args.format in IR_FORMATS:
        export_ir(detector, noise, args.output, metadata, sum(map(some_clips, args.calibrate), []))
    else:
        export(detector, noise, args.output, args.format, metadata)
    sizes = f"{size[0]}x{size[1]} pixels alone (--size)" if detector.fixed_size else "any size"
    print(f"{args.output}: {args.output.stat().st_size / 2**20:.1f} MiB, {shape[1]} frames of {sizes}")
    if not clips:
        return 0
    threads = torch.get_num_threads()
    if args.format in IR_FORMATS:
        exported = load_ir(args.output, threads)
    else:
        exported = load_exported(args.output, args.format, threads=threads)
    parity = compare(model, exported, clips)
    print(parity)
    medians = speed(model, exported, clips[len(clips) // 2], args.runs)
    print(
        f"median of {args.runs} runs in turns, {torch.get_num_threads()} threads, clip "
        f"{tuple(clips[0].shape)}: eager {1e3 * medians['eager']:.1f} ms, "
        f"{args.format} {1e3 * medians['exported']:.1f} ms ({medians['eager'] / medians['exported']:.2f}x)"
    )
    # Integers differ by design, so there is no limit on the difference.
    return 0 if parity.holds or args.format == "openvino-int8" else 1


if __name__ == "__main__":
    raise SystemExit(main(ARGUMENTS))
