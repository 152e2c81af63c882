"""Files appear whole or not at all, whatever stops the writer."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mestad_d2.errors import UserError
from mestad_d2.formats.files import (
    atomic_files,
    atomic_open,
    atomic_path,
    write_bytes,
    write_json,
    write_text,
)


def test_content_arrives_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.csv"
    write_text(path, "ü\r\n\n")
    assert path.read_bytes() == b"\xc3\xbc\r\n\n"
    write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    write_json(path, {"a": [1.5, None]}, indent=None)
    assert path.read_text() == '{"a": [1.5, null]}\n'
    with atomic_path(tmp_path / "v.mp4", keep_suffix=True) as aside:
        assert aside.suffix == ".mp4" and aside.parent == tmp_path
        aside.write_bytes(b"film")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.csv", "folder", "new", "v.mp4"]


def test_a_failing_writer_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("before")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    with pytest.raises(KeyError), atomic_open(path) as file:
        file.write("half")
        raise KeyError
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.json"]


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError) as error:
        write_text(path, "after", fix="buy a disk")
    line = str(error.value)
    assert str(path) in line and "No space left" in line and line.endswith("buy a disk") and "\n" not in line
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["a.csv"]


def test_several_files_come_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / ".m.xml.parts").mkdir()
    (tmp_path / ".m.xml.parts" / "left by a killed process").write_text("x")
    for name in ("m.xml", "m.bin"):
        (tmp_path / name).write_text("before")
    with pytest.raises(UserError, match="No space left"), atomic_files(tmp_path / "m.xml") as aside:
        aside.with_suffix(".bin").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"m.xml": "before", "m.bin": "before"}
    with atomic_files(tmp_path / "m.xml") as aside:
        aside.with_suffix(".bin").write_text("after")
        aside.write_text("after")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"m.xml": "after", "m.bin": "after"}


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file" / "a.csv", tmp_path / ("n" * 300), "/proc/nothing/a.csv"):
        with pytest.raises(UserError) as error:
            write_text(path, "x")
        assert str(path) in str(error.value) and "\n" not in str(error.value)
    assert (tmp_path / "file").read_text() == "x"


def test_a_folder_that_vanishes_is_one_line_and_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "out" / "a.bin"
    for writing in (atomic_path, atomic_files):
        with pytest.raises(UserError, match=r"a\.bin") as error, writing(path) as aside:
            aside.write_text("x")
            shutil.rmtree(path.parent)
        assert "\n" not in str(error.value) and not path.exists()
        write_text(path, "next")
        assert path.read_text() == "next"


def test_errors_of_other_files_stay_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_open(tmp_path / "out") as file:
        file.write((tmp_path / "input").read_text())
    assert os.listdir(tmp_path) == []


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    with atomic_path(path, many_writers=True) as mine, atomic_path(path) as other:
        assert mine != other
        mine.write_text("mine")
        other.write_text("other")
    assert path.read_text() == "mine" and os.listdir(tmp_path) == ["a.npy"]


def test_links_stay_and_pipes_are_written_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_text() == "new"
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_text()))
    reader.start()
    with atomic_path(tmp_path / "pipe") as aside, open(aside, "w") as file:
        file.write("through")
    reader.join(10)
    assert got == ["through"]


def test_names_that_are_no_utf8_come_back_as_bytes(tmp_path: Path) -> None:
    write_text(tmp_path / "list", os.fsdecode(b"caf\xe9.mp4\n"))
    assert (tmp_path / "list").read_bytes() == b"caf\xe9.mp4\n"


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("before")
    code = (
        "import os, signal, sys; from mestad_d2.formats.files import atomic_open\n"
        "with atomic_open(sys.argv[1]) as file:\n"
        "    file.write('half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL and path.read_text() == "before"
    # What it left is taken over by the next one.
    write_text(path, "after")
    assert path.read_text() == "after" and os.listdir(tmp_path) == ["a.csv"]
