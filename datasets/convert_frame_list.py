#!/usr/bin/env python
"""Convert a frame list of PySlowFast to folders of links: <output>/<video>/img_00001.jpg and so on.

Lines have five fields, original_vido_id video_id frame_id path labels, after a header; their order is
the order of the frames; the first names the video. For other programs: here, FRAME_LIST of a dataset reads
the list itself.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mestad_d2.errors import UserError, one_line_errors  # noqa: E402
from mestad_d2.video.frame_list import read_frame_list  # noqa: E402


@one_line_errors()
def main(argv: list[str] | None = None) -> None:
    """Make the links."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lists", type=Path, nargs="+", help="such as frame_lists/train.csv")
    parser.add_argument("--frames", type=Path, required=True, help="folder that the paths start from")
    parser.add_argument("--output", type=Path, required=True, help="new folder")
    args = parser.parse_args(argv)
    if args.output.exists():
        raise UserError(f"{args.output}: exists already; name a new folder")
    videos: dict[str, list[str]] = defaultdict(list)
    for path in args.lists:
        for video, frames in read_frame_list(path, args.frames).items():
            videos[video] += frames
    for video, frames in videos.items():
        folder = args.output / video
        folder.mkdir(parents=True)
        for number, frame in enumerate(frames, start=1):
            source = (args.frames / frame).resolve()
            if not source.is_file():
                raise UserError(f"{source}: no such picture, frame {number} of {video}; check --frames")
            (folder / f"img_{number:05d}{source.suffix}").symlink_to(source)
    print(f"{args.output}: {len(videos)} videos, {sum(map(len, videos.values()))} frames")


if __name__ == "__main__":
    main()
