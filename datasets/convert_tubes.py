#!/usr/bin/env python
"""UCF101-24, JHMDB or MultiSports to AVA's csv: train.csv, val.csv and labels.txt.

Reads the pickle of tubes that they are shared as (UCF101v2-GT.pkl, JHMDB-GT.pkl, multisports_GT.pkl).
Videos must lie below one folder under the names in the pickle (JHMDB: brush_hair/....mp4).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.data.prepare.convert import Timing, class_names, tube_labels, write_label_map, write_labels
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.formats.safe_pickle import read_arrays


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Convert both splits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pickle", type=Path)
    parser.add_argument("--output", type=Path, required=True, help="folder for the csv files")
    parser.add_argument("--fps", type=float, default=25.0, help="of the videos (all three datasets: 25)")
    parser.add_argument("--step", type=int, default=25, help="every N-th frame is a key frame (default: 25)")
    parser.add_argument("--split", type=int, default=1, help="official split, from 1 (default: 1)")
    args = parser.parse_args(argv)
    refuse_overwriting_inputs(
        [args.pickle], [args.output / name for name in ("labels.txt", "train.csv", "val.csv")]
    )
    content = read_arrays(args.pickle)
    needed = {"labels", "gttubes", "resolution", "train_videos", "test_videos"}
    if not isinstance(content, dict) or needed - set(content):
        raise UserError(f"{args.pickle}: not a pickle of tubes; it should hold {', '.join(sorted(needed))}")
    splits = len(content["train_videos"])
    if not 1 <= args.split <= splits:
        raise UserError(f"{args.pickle}: has no split {args.split}, but {splits}")
    timing = Timing(args.fps, args.step)
    write_label_map(class_names(content["labels"]), args.output / "labels.txt")
    for name, key in (("train", "train_videos"), ("val", "test_videos")):
        # A test set without public labels lists videos that have no tubes.
        videos = [video for video in content[key][args.split - 1] if video in content["gttubes"]]
        rows, empty = write_labels(tube_labels(content, videos, timing), args.output / f"{name}.csv")
        print(f"{args.output / name}.csv: {len(videos)} videos, {rows} rows, {empty} empty boxes left out")


if __name__ == "__main__":
    main()
