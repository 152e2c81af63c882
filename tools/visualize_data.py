#!/usr/bin/env python
"""Draw the model's input: the key frame with boxes and actions, and all frames of its clip below."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Instances

from mestad_d2.data.catalog import input_files
from mestad_d2.data.loaders import build_train_loader, build_unlabeled_loader
from mestad_d2.data.mapper import ClipMapper
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.inference.results.drawing import Annotator, NamedPerson, fit, output_size
from mestad_d2.load_config import setup_cfg
from mestad_d2.video.output.picture_file import write_picture

COLUMNS = 8


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config-file", required=True)
    parser.add_argument(
        "--source",
        choices=("annotation", "dataloader", "unlabeled"),
        default="annotation",
        help="annotation: files as they are; dataloader: as training sees them; unlabeled: clips between "
        "key frames, with the left neighbour's boxes and the right one's (r)",
    )
    parser.add_argument("--output", type=Path, default=Path("output/data"))
    parser.add_argument("--number", type=int, default=16, help="pictures to write (default: 16)")
    parser.add_argument("opts", nargs=argparse.REMAINDER, help="config options KEY VALUE ...")
    return parser.parse_args(argv)


def samples(cfg: CfgNode, source: str, number: int) -> Iterator[dict]:
    """Yield model inputs, evenly spread over the annotations or as a loader serves them."""
    if source == "annotation":
        for name in cfg.DATASETS.TRAIN:
            dicts, mapper = DatasetCatalog.get(name), ClipMapper(cfg, False)
            for index in np.linspace(0, len(dicts) - 1, min(number, len(dicts))).round().astype(int):
                yield mapper(dicts[index], np.random.default_rng(0))
        return
    loader = build_train_loader(cfg) if source == "dataloader" else build_unlabeled_loader(cfg)
    yield from chain.from_iterable(loader)


def people(
    instances: Instances, names: dict[int, str], scale: Sequence[float], mark: str = ""
) -> list[NamedPerson]:
    """Return what to draw of annotated people; ``scale`` enlarges boxes (x, y)."""
    boxes = instances.gt_boxes.tensor.numpy() * np.array([*scale, *scale])
    actions = [(row.nonzero().flatten() + 1).tolist() for row in instances.gt_actions]
    # People without an id (-1) are numbered by their position in the list.
    tracks = [int(t) if t >= 0 else place for place, t in enumerate(instances.gt_person_ids)]
    return [
        NamedPerson(box, 1.0, track, [(f"{mark}{names.get(i, i)}", 1.0) for i in ids])
        for box, track, ids in zip(boxes, tracks, actions, strict=True)
    ]


def picture(item: dict, names: dict[int, str]) -> np.ndarray:
    """Draw (H, W, 3) uint8 RGB: key frame, and below it the clip in rows of ``COLUMNS`` frames."""
    frames = item["clip"].permute(1, 2, 3, 0).numpy()
    height, width = frames.shape[1:3]
    big = output_size(height, width)
    scale = (big[1] / width, big[0] / height)
    key = fit(np.ascontiguousarray(frames[len(frames) // 2]), *big)
    shown = people(item["instances"], names, scale) if "instances" in item else []
    if "left_instances" in item:
        shown = people(item["left_instances"], names, scale)
        shown += people(item["right_instances"], names, scale, "r ")
    Annotator(max_actions=8).draw(key, shown)
    columns = min(COLUMNS, len(frames))
    small = (big[1] // columns * height // width, big[1] // columns)
    cells = [fit(np.ascontiguousarray(frame), *small) for frame in frames]
    cv2.rectangle(cells[len(frames) // 2], (0, 0), (small[1] - 1, small[0] - 1), (255, 220, 0), 2)
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    strip = np.vstack(rows)
    return np.vstack([key, np.pad(strip, ((0, 0), (0, big[1] - strip.shape[1]), (0, 0)))])


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Write the pictures and say where they are."""
    args = parse(argv)
    cfg = setup_cfg(args.config_file, args.opts)
    if not cfg.DATASETS.TRAIN:
        raise UserError(f"{args.config_file}: DATASETS.TRAIN is empty")
    names = dict(
        pair
        for name in cfg.DATASETS.TRAIN
        for pair in MetadataCatalog.get(name).get("action_names", {}).items()
    )
    inputs = set().union(*map(input_files, cfg.DATASETS.TRAIN))
    refuse_overwriting_inputs([args.config_file, *inputs], [args.output])
    for index, item in enumerate(islice(samples(cfg, args.source, args.number), args.number)):
        safe = item["video_id"].replace("/", "_")
        path = args.output / f"{args.source}_{index:03d}_{safe}_{item['timestamp']:.2f}.png"
        refuse_overwriting_inputs([args.config_file, *inputs], [path])
        write_picture(path, picture(item, names))
    print(f"pictures are in {args.output}")


if __name__ == "__main__":
    main()
