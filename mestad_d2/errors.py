"""The error for mistakes in the user's input, and how tools print it."""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

# torch passes an error of a loader process on as text: the traceback, which ends with the message.
_FROM_LOADER = re.compile(r"Caught \w+ in (?:DataLoader|pin memory).*^[\w.]+: (.*)", re.DOTALL | re.MULTILINE)
# Line breaks and codes for terminals, which names out of strangers' files may hold.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# The status of a program whose reader, such as head, has left: 128 and SIGPIPE.
READER_GONE = 141
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(ValueError):
    """Input that can't be used; its message is one line that names the file, the row and the fix."""

    def __init__(self, message: str = "") -> None:
        handed_over = _FROM_LOADER.match(message)
        super().__init__(_CONTROLS.sub(" ", handed_over[1] if handed_over else message).strip())


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return ``1 video``, ``2 videos``: a number with its noun, for messages; ``plural`` where it is no -s."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print a ``UserError`` or a full disk as one line on stderr and exit with code 2, without traceback.

    Where nobody reads the output any more, exit with ``READER_GONE`` and say nothing. Also usable as a
    decorator of a tool's ``main``.
    """
    handle = logging.Handler.handleError
    logging.Handler.handleError = _handle_log_error(handle)
    try:
        yield
    except UserError as error:
        _tell(f"error: {error}")
        sys.exit(2)
    except BrokenPipeError:
        if not _reader_gone():
            raise
        sys.exit(READER_GONE)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        where = error.filename or "the output folder"
        _tell(f"error: {where}: not written ({error.strerror}); make room there")
        sys.exit(2)
    finally:
        logging.Handler.handleError = handle


def _tell(line: str) -> None:
    """Print on stderr; where that has no room or no reader, the exit code says enough."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def _reader_gone() -> bool:
    """Whether standard output is a pipe without a reader; what is still buffered is then dropped."""
    poller = select.poll()
    poller.register(sys.stdout.fileno(), select.POLLOUT)
    gone = any(event & select.POLLERR for _, event in poller.poll(0))
    if gone:
        _silence(sys.stdout)
    return gone


def _silence(stream: TextIO) -> None:
    """Drop what is still buffered: Python flushes once more when it ends, and would tell or return that error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _handle_log_error(handle: Callable[[logging.Handler, logging.LogRecord], None]) -> Callable:
    """Leave out lines of a log that the disk has no room for; logging prints a traceback for each."""

    def handle_but_full(handler: logging.Handler, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not (isinstance(error, OSError) and error.errno in _FULL):
            handle(handler, record)

    return handle_but_full
