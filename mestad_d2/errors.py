"""The one error that a user's own mistake raises, and how tools show it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Input that can't be used; its message is one line that names the file, the row and the fix."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a ``UserError`` as one line on stderr and exit with code 2, without a traceback.

    Works as a decorator of a tool's ``main`` too.
    """
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
