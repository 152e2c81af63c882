"""Log user errors of a training without traceback."""

from __future__ import annotations

import logging

from detectron2.engine import train_loop

from mestad_d2.errors import UserError


def _without_traceback(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, UserError):
        record.msg, record.args = "Training ends: %s", (error,)
        record.exc_info = None
    return True


def tell_user_errors_briefly() -> None:
    """Make the training loop log a ``UserError`` as its message alone; other errors keep their traceback."""
    logging.getLogger(train_loop.__name__).addFilter(_without_traceback)
