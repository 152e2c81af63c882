"""Files of strangers: a media file is read, nothing that it names, and names are names."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest
from numbered_video import read_number, write_numbered_video

from mestad_d2.errors import UserError
from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import open_source
from mestad_d2.video.stream import iterate_frames


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n"),
        ("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile {secret}\n"),
        ("a.mkv", "ffconcat version 1.0\nfile {secret}\n"),
        ("a.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"),
        (
            "a.mpd",
            '<MPD type="static"><Period><AdaptationSet mimeType="video/mp2t"><Representation id="1" '
            'bandwidth="1"><BaseURL>{secret}</BaseURL></Representation></AdaptationSet></Period></MPD>',
        ),
    ],
)
def test_what_names_other_files_is_refused(tmp_path: Path, name: str, text: str) -> None:
    """Each would show the other video, or wait for a sender."""
    secret = tmp_path / "secret.ts"
    write_numbered_video(secret, 50, Fraction(25), codec="libx264")
    (tmp_path / name).write_text(text.format(secret=secret))
    for read in (open_source, lambda path: list(iterate_frames(path)), lambda path: read_frames(path, [0.0])):
        with pytest.raises(UserError, match="no video that can be read|no picture in this file") as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["concat:secret.ts", "file:secret.ts", "http://127.0.0.1:9/a.mp4", "pipe:0"])
def test_an_address_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    write_numbered_video(tmp_path / "secret.ts", 50, Fraction(25), codec="libx264")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no such video file or folder"):
        open_source(name)


@pytest.mark.parametrize(
    "name",
    [
        "2024-05-01T12:30:00.ts", "cam1:front.ts", "concat:a|b.ts", "file:x.ts", "50%03d.ts", "?a=b.ts", "-i.ts",
        "caf\udce9.ts", "視頻.ts", " spaces .ts", "a'b\"c.ts", "#1.ts", "subfile,,start,0,end,1,,:a.ts",
    ],
)  # fmt: skip
def test_any_name_of_a_file_is_that_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    write_numbered_video(tmp_path / "v.ts", 30, Fraction(25), codec="libx264")
    monkeypatch.chdir(tmp_path)
    os.rename(b"v.ts", os.fsencode(name))
    assert [read_number(frame.image) for frame in iterate_frames(name)] == list(range(30))
    assert read_number(read_frames(name, [0.4])[0]) == 10


def test_a_pipe_or_a_device_is_no_file(tmp_path: Path) -> None:
    """They need not have an end."""
    os.mkfifo(tmp_path / "a.mp4")
    for path in (tmp_path / "a.mp4", "/dev/zero", "/dev/stdin"):
        with pytest.raises(UserError, match="no such video file or folder"):
            open_source(path)
