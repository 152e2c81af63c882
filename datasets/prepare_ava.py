#!/usr/bin/env python
"""Download AVA: lists and films, several at a time; run it again to continue an interrupted download.

Films take about 300 GB (train and val). --cut keeps seconds 900 to 1801 only, as the annotations do, at a
smaller size; that takes some minutes of computing a film and about 10 GB in all.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tqdm import tqdm

from mestad_d2.data.prepare.download import fetch, in_parallel, read_checksums
from mestad_d2.errors import UserError, one_line_errors
from mestad_d2.formats.files import write_bytes
from mestad_d2.formats.output_paths import refuse_overwriting_inputs
from mestad_d2.video.output.trim import cut_video
from mestad_d2.video.video_locations import find_video, is_video_name

# The host that AVA's own page names (cvdfoundation/ava-dataset).
MIRROR = "https://s3.amazonaws.com/ava-dataset"
# Annotated are seconds 902 to 1798; clips reach some seconds further.
CUT = (900.0, 1801.0)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path("datasets/ava"))
    parser.add_argument("--versions", nargs="*", default=["2.1", "2.2"], help="of the annotations")
    parser.add_argument("--splits", nargs="*", default=["trainval"], choices=["trainval", "test"])
    parser.add_argument("--only", nargs="*", default=[], help="video ids; default: all")
    parser.add_argument("--workers", type=int, default=4, help="files at a time")
    parser.add_argument("--cut", action="store_true", help="keep seconds 900 to 1801, delete the film")
    parser.add_argument("--short-side", type=int, default=320, help="of cut videos, in pixels")
    parser.add_argument("--checksums", type=Path, help="MD5 sums of the films, as md5sum writes them")
    parser.add_argument("--mirror", default=MIRROR, help="address that lists and films lie below")
    parser.add_argument("--tries", type=int, default=5)
    return parser.parse_args(argv)


def fetch_annotations(args: argparse.Namespace) -> None:
    """Download the annotations, label maps and exclusions of each version."""
    folder = args.output / "annotations"
    for version in args.versions:
        archive = folder / f"ava_v{version}.zip"
        fetched = fetch(f"{args.mirror}/annotations/{archive.name}", archive, tries=args.tries)
        try:
            with zipfile.ZipFile(archive) as file:
                for entry in file.infolist():
                    # Only the file name is used: an archive must not write elsewhere.
                    name = Path(entry.filename).name
                    if not entry.is_dir() and name:
                        refuse_overwriting_inputs([args.checksums], [folder / name])
                        write_bytes(folder / name, file.read(entry))
        except zipfile.BadZipFile as error:
            if fetched:
                archive.unlink()
            raise UserError(
                f"{archive}: no zip archive; {'run' if fetched else 'remove it and run'} it again"
            ) from error


def list_films(args: argparse.Namespace) -> list[tuple[str, str]]:
    """Return (split, file name) of the films wanted."""
    films = []
    for split in args.splits:
        path = args.output / "annotations" / f"ava_file_names_{split}_v2.1.txt"
        fetch(f"{args.mirror}/annotations/{path.name}", path, tries=args.tries)
        for row, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
            name = line.strip()
            if name and (Path(name).name != name or not is_video_name(name)):
                raise UserError(f"{path}: row {row}: {name!r} is no name of a video file; delete the list")
            if name and (not args.only or Path(name).stem in args.only):
                films.append((split, name))
    return films


def prepare_film(args: argparse.Namespace, split: str, name: str, md5: str | None, bar: tqdm) -> None:
    """Fetch one film unless it is there, and cut it if asked to."""
    videos = args.output / "videos"
    if find_video(videos, Path(name).stem) is None:
        film = (args.output / "films" if args.cut else videos) / name
        # Only films that were downloaded here go after cutting, not those that somebody has put there.
        ours = film.with_name(f".{name}.downloaded")
        if args.cut and not film.exists():
            film.parent.mkdir(parents=True, exist_ok=True)
            ours.touch()
        fetch(f"{args.mirror}/{split}/{name}", film, md5=md5, tries=args.tries, progress=bar.update)
        if args.cut:
            videos.mkdir(parents=True, exist_ok=True)
            cut_video(film, videos / f"{Path(name).stem}.mp4", *CUT, short_side=args.short_side)
            if ours.exists():
                film.unlink()
                ours.unlink()
    bar.set_postfix_str(name)


@one_line_errors()
def main(argv: list[str] | None = None) -> int:
    """Download everything; exit code 1 if some films failed."""
    args = parse(argv)
    sums = read_checksums(args.checksums) if args.checksums else {}
    fetch_annotations(args)
    films = list_films(args)
    with tqdm(unit="B", unit_scale=True, desc=f"{len(films)} films") as bar:
        jobs = [
            (name, lambda split=split, name=name: prepare_film(args, split, name, sums.get(name), bar))
            for split, name in films
        ]
        failures = in_parallel(jobs, args.workers)
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    print(f"{args.output}: {len(films) - len(failures)} of {len(films)} films are there")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
