"""The one error that a user's own mistake raises, and how tools show it."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# torch hands an error of a loader's process over as text: the traceback, which ends with the message.
_FROM_LOADER = re.compile(r"Caught \w+ in (?:DataLoader|pin memory).*^[\w.]+: (.*)", re.DOTALL | re.MULTILINE)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(ValueError):
    """Input that can't be used; its message is one line that names the file, the row and the fix."""

    def __init__(self, message: str = "") -> None:
        handed_over = _FROM_LOADER.match(message)
        super().__init__(handed_over[1].strip() if handed_over else message)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a ``UserError``, or that a disk is full, as one line on stderr; exit with code 2, no traceback.

    Works as a decorator of a tool's ``main`` too.
    """
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        where = error.filename or "the output folder"
        print(f"error: {where}: not written ({error.strerror}); make room there", file=sys.stderr)
        sys.exit(2)
