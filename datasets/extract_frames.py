#!/usr/bin/env python
"""Extract videos to folders of frames, and rates.csv with their rates. Not needed here: videos are read directly.

For comparisons with projects that read frames, and for disks on which random reading of films is slow.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from mestad_d2.data.per_video import read_values
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.csv_cells import csv_field
from mestad_d2.formats.files import write_text
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.video.output.extract import NAMINGS, extract_frames
from mestad_d2.video.source import open_source
from mestad_d2.video.video_locations import is_video_name


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Extract every video of a folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=Path, required=True, help="folder of video files")
    parser.add_argument("--output", type=Path, required=True, help="folder for folders of frames")
    parser.add_argument("--only", nargs="*", default=[], help="video ids; default: all")
    parser.add_argument("--naming", choices=sorted(NAMINGS), default="pyslowfast")
    parser.add_argument("--format", choices=("jpg", "png"), default="jpg")
    parser.add_argument("--fps", type=float, help="frames a second; default: each video's own rate")
    args = parser.parse_args(argv)
    if args.fps is not None and args.fps <= 0:
        raise UserError(f"--fps {args.fps:g}: write a number above 0")
    files = sorted(p for p in args.videos.glob("*") if is_video_name(p))
    files = [p for p in files if not args.only or p.stem in args.only]
    if not files:
        raise UserError(f"{args.videos}: no video files to extract")
    table = args.output / "rates.csv"
    refuse_overwriting_inputs(files, [table, *(args.output / path.stem for path in files)])
    # Rates of videos that were extracted earlier, for instance with another --only, stay.
    known = read_values(str(table)) if table.exists() else {}
    rates = {name: rate for name, rate in known.items() if (args.output / name).is_dir()}
    for path in tqdm(files, unit="video"):
        fps = args.fps or open_source(path).fps
        extract_frames(path, args.output / path.stem, fps, args.naming, f".{args.format}")
        rates[path.stem] = fps
        # At once, so that an error at a later video loses no rate.
        write_text(table, "".join(f"{csv_field(name)},{rate!r}\n" for name, rate in rates.items()))
    print(f"{args.output}: {len(files)} videos; give rates.csv as FPS of the dataset")


if __name__ == "__main__":
    main()
