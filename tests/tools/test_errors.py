"""How tools end: one line for a user's mistake, and nothing where the reader of their output has left."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from loading import ROOT

from mestad_d2.errors import READER_GONE, UserError

LONG = "for line in range(100_000): print('line', line)"
# A pipe of the program's own that breaks, while its output is read.
OWN = "import os; read, write = os.pipe(); os.close(read); os.write(write, b'x')"


def run(code: str, unbuffered: bool, lines: int | None) -> tuple[int, str]:
    """Exit code and errors of a program whose output is read up to a line, or to its end."""
    program = f"from mestad_d2.errors import one_line_errors\nwith one_line_errors():\n    {code}\n"
    env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1" if unbuffered else ""}
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    for _ in range(lines or 0):
        process.stdout.readline()
    if lines is None:
        process.stdout.read()
    process.stdout.close()
    errors = process.stderr.read()
    return process.wait(60), errors


@pytest.mark.parametrize("unbuffered", [False, True])
def test_a_reader_that_has_enough_is_no_error(unbuffered: bool) -> None:
    assert run(LONG, unbuffered, 1) == (READER_GONE, "")


def test_another_pipe_that_breaks_is_told() -> None:
    code, errors = run(OWN, False, None)
    assert code == 1 and "BrokenPipeError" in errors


def test_names_out_of_files_can_not_break_the_line_or_change_the_terminal() -> None:
    assert str(UserError("a\n b.yaml\r\nc\x1b[31m\x9b1m\u2028d\x00 é\n")) == "a  b.yaml c [31m 1m d  é"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("raise errors.UserError('labels.csv, row 3: no such action')", 2),
        ("raise OSError(28, 'No space left on device', 'out.csv')", 2),
        ("os.kill(os.getpid(), signal.SIGTERM)", 75),
    ],
)
def test_a_log_on_a_full_disk_keeps_the_exit_code(code: str, expected: int) -> None:
    program = f"""
import os, signal
from mestad_d2 import errors, process_setup
process_setup.leave_on_signals()
with errors.one_line_errors():
    {code}
"""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with open("/dev/full", "w") as full:
        assert subprocess.run([sys.executable, "-c", program], stderr=full, env=env).returncode == expected
