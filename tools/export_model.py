#!/usr/bin/env python
"""Write the whole detector as one ONNX or TorchScript file: clip in; boxes, person and action scores out."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import torch

from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.inference.action_names import action_names
from mestad_d2.inference.arguments import add_config_options, add_detector_arguments, detector_config
from mestad_d2.inference.export.check import compare, speed
from mestad_d2.inference.export.files import FORMATS, clip_metadata, export, load_exported, need
from mestad_d2.inference.export.model import ExportableDetector
from mestad_d2.inference.predictor import VideoPredictor, load_model
from mestad_d2.video.clips import clip_tensor


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_detector_arguments(parser)
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--compare", metavar="VIDEO", help="compare numbers and speed with eager on a video")
    parser.add_argument("--clips", type=int, default=10, help="clips that are compared (%(default)s)")
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each side, in turns (%(default)s)")
    add_config_options(parser)
    return parser.parse_args(arguments)


@one_line_errors()
def main(args: argparse.Namespace) -> int:
    """Export and compare. Returns 0, or 1 if the file's numbers differ from eager's."""
    if min(args.clips, args.runs) < 1:
        raise UserError("--clips and --runs must be at least 1")
    if args.format == "onnx":
        for package in ("onnx", "onnxruntime") if args.compare else ("onnx",):
            need(package)
    cfg = detector_config(args, ["MODEL.DEVICE", "cpu"])
    refuse_overwriting_inputs([args.config_file, args.labels, args.compare, cfg.MODEL.WEIGHTS], [args.output])
    model = load_model(cfg)
    detector = ExportableDetector(model)
    clips = []
    if args.compare:
        predictor = VideoPredictor(cfg, model, keyframes_per_second=2)
        some = itertools.islice(predictor.clips(args.compare), args.clips)
        clips = [clip_tensor(clip.frames) for clip in some]
    side = cfg.INPUT.MIN_SIZE_TEST
    generator = torch.Generator().manual_seed(0)
    # Traced with noise of a shape unlike the video's, so that the comparison shows sizes to be free.
    shape = (3, cfg.INPUT.CLIP.NUM_FRAMES, side, side + side // 4)
    noise = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    export(detector, noise, args.output, args.format, clip_metadata(cfg, action_names(cfg, args.labels)))
    print(f"{args.output}: {args.output.stat().st_size / 2**20:.1f} MiB, {shape[1]} frames of any size")
    if not clips:
        return 0
    exported = load_exported(args.output, args.format, threads=torch.get_num_threads())
    parity = compare(model, exported, clips)
    print(parity)
    medians = speed(model, exported, clips[len(clips) // 2], args.runs)
    print(
        f"median of {args.runs} runs in turns, {torch.get_num_threads()} threads, clip "
        f"{tuple(clips[0].shape)}: eager {1e3 * medians['eager']:.1f} ms, "
        f"{args.format} {1e3 * medians['exported']:.1f} ms ({medians['eager'] / medians['exported']:.2f}x)"
    )
    return 0 if parity.holds else 1


if __name__ == "__main__":
    raise SystemExit(main(parse()))
