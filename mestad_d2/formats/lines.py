"""Read lines of small text files with a limit on the length of a line, which bounds memory."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike

from mestad_d2.errors import UserError

# Longest line in characters: rows of AVA's csv have under 200.
MAX_LINE = 10_000
# Most lines of a file that is read as a whole, such as a label map.
MAX_LINES = 100_000


def open_lines(path: str | PathLike[str]) -> Iterator[str]:
    """Yield the lines of a text file in UTF-8, with their ends as they are; a byte order mark is left out.

    Raises:
        UserError: no such file, not UTF-8, or a line longer than ``MAX_LINE``.
    """
    number = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise UserError(
                        f"{path}: line {number}: longer than {MAX_LINE} characters; is this the right file?"
                    )
                yield line
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; check the path") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text; save the file as UTF-8") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: can't be read ({reason}); check the path") from error


def text_lines(path: str | PathLike[str]) -> list[str]:
    """Return all lines of a small text file, without line ends.

    Raises:
        UserError: as ``open_lines``, or more than ``MAX_LINES`` lines.
    """
    lines: list[str] = []
    for line in open_lines(path):
        # Old Macintosh files end their lines with a carriage return alone.
        lines += line.rstrip("\r\n").split("\r")
        if len(lines) > MAX_LINES:
            raise UserError(f"{path}: more than {MAX_LINES} lines; is this the right file?")
    return lines
