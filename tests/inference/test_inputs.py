"""What people give to the tools: folders, patterns, standard input, parts of a film."""

from __future__ import annotations

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from mestad_d2.errors import UserError
from mestad_d2.inference.batch.jobs import read_list
from mestad_d2.inference.inputs import find_inputs


@pytest.fixture
def clips(tmp_path: Path, monkeypatch) -> Path:
    """Empty files: two videos, one in a folder below, frames of a third, and a note."""
    monkeypatch.chdir(tmp_path)
    names = ("clips/b.MP4", "clips/a.mkv", "clips/day/c.mp4", "clips/notes.txt", "clips/.hidden.mp4")
    for name in (*names, "frames/1.jpg", "frames/2.jpg", "mixed/a.mp4", "mixed/1.png", "odd[1]*.mp4"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    return tmp_path


def stdin(monkeypatch, content: bytes) -> None:
    """Let standard input be these bytes."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("clips", ["clips/a.mkv", "clips/b.MP4"]),
        ("clips/", ["clips/a.mkv", "clips/b.MP4"]),
        ("frames", ["frames"]),
        ("clips/*.mkv", ["clips/a.mkv"]),
        ("clips/*", ["clips/a.mkv", "clips/b.MP4", "clips/day/c.mp4"]),
        ("clips/**/*.mp4", ["clips/day/c.mp4"]),
        ("clips/**", ["clips/a.mkv", "clips/b.MP4", "clips/day/c.mp4"]),
        ("[cf]*s", ["clips/a.mkv", "clips/b.MP4", "frames"]),
        # A file whose name looks like a pattern, one that is not there, and a camera stand for themselves.
        ("odd[1]*.mp4", ["odd[1]*.mp4"]),
        ("no.mp4", ["no.mp4"]),
        ("camera:0", ["camera:0"]),
    ],
)
def test_what_inputs_stand_for(clips: Path, given: str, expected: list[str]) -> None:
    assert find_inputs([given]) == expected
    assert find_inputs([given, "no.mp4"]) == [*expected, "no.mp4"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("mixed", "mixed: holds 1 videos (a.mp4) and 1 pictures"),
        ("m*", "mixed: holds 1 videos"),
        ("clips/*.avi", "no video matches this pattern;"),
        ("clips/*.txt", "no video matches this pattern; 1 other files do"),
    ],
)
def test_what_is_refused_in_one_line(clips: Path, given: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        find_inputs([given])
    assert said in str(error.value) and "\n" not in str(error.value)


def test_lists_on_standard_input(clips: Path, monkeypatch) -> None:
    lines = "\ufeffclips/day\r\n# old\n\n frames \nno.mp4"
    expected = ["clips/day/c.mp4", "frames", "no.mp4"]
    stdin(monkeypatch, lines.encode())
    assert find_inputs(["clips/a.mkv", "-"]) == ["clips/a.mkv", *expected]
    stdin(monkeypatch, f"{lines}\nclips/day/c.mp4\n{clips}/clips/day".encode())
    assert read_list("-") == expected
    (clips / "list.txt").write_text(lines)
    assert read_list("list.txt") == expected
    for content, said in ((b"\n# x\n", "no video"), (b"\xff\xfe", "UTF-8"), (b"a.mp4\n-\n", "a line is '-'")):
        stdin(monkeypatch, content)
        with pytest.raises(UserError, match=f"standard input: .*{said}"):
            find_inputs(["-"])


def test_folders_that_nobody_may_read(clips: Path, monkeypatch) -> None:
    def refuse(folder: str) -> list[str]:
        raise PermissionError(13, "Permission denied", folder)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(UserError, match="clips: can't be read"):
        find_inputs(["clips"])
