#!/usr/bin/env python
"""The corrected UCF101-24 annotations (pyannot.pkl) to AVA's csv: train.csv, val.csv and labels.txt.

Videos are named v_<Class>_gNN_cNN and lie in one folder. The test list is the official one
(testlist01.txt: lines <Class>/v_<Class>_gNN_cNN.avi).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.data.prepare.convert import Timing, class_names, ucf24_labels, write_label_map, write_labels
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
    parser.add_argument("--test-list", type=Path, required=True, help="videos of the test set, one a line")
    parser.add_argument("--output", type=Path, required=True, help="folder for the csv files")
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--step", type=int, default=25, help="every N-th frame is a key frame (default: 25)")
    args = parser.parse_args(argv)
    outputs = [args.output / name for name in ("labels.txt", "train.csv", "val.csv")]
    refuse_overwriting_inputs([args.pickle, args.test_list], outputs)
    content = read_arrays(args.pickle)
    if not isinstance(content, dict) or not content:
        raise UserError(f"{args.pickle}: no dict of videos")
    try:
        lines = args.test_list.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{args.test_list}: no list of videos ({error})") from error
    test = {Path(line.split()[0]).stem for line in lines if line.split()}
    # Classes are numbered in the order of their names.
    write_label_map(
        class_names(sorted({video.partition("/")[0] for video in content})), args.output / "labels.txt"
    )
    timing = Timing(args.fps, args.step)
    for name, wanted in (("train", False), ("val", True)):
        videos = [video for video in content if (video.rpartition("/")[2] in test) == wanted]
        rows, empty = write_labels(ucf24_labels(content, videos, timing), args.output / f"{name}.csv")
        print(f"{args.output / name}.csv: {len(videos)} videos, {rows} rows, {empty} empty boxes left out")


if __name__ == "__main__":
    main()
