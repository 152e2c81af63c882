#!/usr/bin/env python
"""COCO-style json of videos (videos, images, annotations, categories) to AVA's csv and a label map.

A category is an action. Run it once a split; use the label map of the training set for both.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.data.prepare.convert import Timing, coco_labels, coco_names, write_label_map, write_labels
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.output_paths import refuse_overwriting_inputs


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Convert one file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("json", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="csv file to write")
    parser.add_argument("--label-map", type=Path, help="label map to write")
    parser.add_argument("--fps", type=float, default=30.0, help="of videos that don't name theirs")
    parser.add_argument("--step", type=int, default=1, help="every N-th frame is a key frame (default: all)")
    parser.add_argument("--first-frame", type=int, default=0, help="number of a video's first frame")
    args = parser.parse_args(argv)
    refuse_overwriting_inputs([args.json], [args.output, args.label_map])
    try:
        content = json.loads(args.json.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{args.json}: no json that can be read ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{args.json}: no object with videos, images, annotations and categories")
    labels = coco_labels(content, Timing(args.fps, args.step), args.first_frame)
    rows, empty = write_labels(labels, args.output)
    if args.label_map:
        write_label_map(coco_names(content), args.label_map)
    print(f"{args.output}: {rows} rows, {empty} empty boxes left out")


if __name__ == "__main__":
    main()
