"""PySlowFast's lists of frames."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from mestad_d2.errors import UserError

HEADER = ("original_vido_id", "original_video_id")


def read_frame_list(path: str | Path) -> dict[str, list[str]]:
    """Paths of each video's frames, in the order of the lines.

    Five fields a line, separated by spaces: original id, video id, frame id, path, labels; the second and
    the fourth count.

    Raises:
        UserError: names file and row; a path or id that leaves its folder too.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no frame list that can be read ({error})") from error
    frames: dict[str, list[str]] = {}
    for row, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or (row == 1 and fields[0] in HEADER):
            continue
        if len(fields) not in (4, 5):
            raise UserError(
                f"{path}: row {row}: {len(fields)} fields; write original_vido_id video_id frame_id path labels"
            )
        for name in (fields[1], fields[3]):
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise UserError(
                    f"{path}: row {row}: {name!r} leaves the folder of frames; write a path below it"
                )
        frames.setdefault(fields[1], []).append(fields[3])
    return frames
