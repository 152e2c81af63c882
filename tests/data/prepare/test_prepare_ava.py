"""AVA's preparation against a small http server on this machine, also one that breaks connections."""

from __future__ import annotations

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from loading import load_script
from numbered_video import read_number, write_numbered_video

from mestad_d2.data.prepare.download import fetch, read_checksums
from mestad_d2.errors import UserError
from mestad_d2.video.frames import read_frames
from mestad_d2.video.output.trim import cut_video
from mestad_d2.video.source import open_source


class Server(ThreadingHTTPServer):
    """Serves ``files`` (path -> bytes) with ranges; notes each request as (path, range)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[tuple[str, str | None]] = []
        self.break_after: list[int] = []
        self.fail_with: list[int] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        body = self.server.files.get(self.path)
        status = self.server.fail_with.pop(0) if self.server.fail_with else 404 if body is None else 200
        if status != 200:
            self.send_error(status)
            return
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        start = 0
        if wanted and self.headers.get("If-Range", tag) == tag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(body) and start:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        end = start + self.server.break_after.pop(0) if self.server.break_after else len(body)
        self.wfile.write(body[start:end])


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


DATA = np.random.default_rng(0).bytes(300_000)


def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.files["/x.mkv"], server.break_after, got = DATA, [100_000, 50_000], []
    assert fetch(f"{server.address}/x.mkv", tmp_path / "x.mkv", wait=0.0, progress=got.append)
    assert (tmp_path / "x.mkv").read_bytes() == DATA
    assert [r for _, r in server.requests] == [None, "bytes=100000-", "bytes=150000-"]
    assert not fetch(f"{server.address}/x.mkv", tmp_path / "x.mkv") and len(server.requests) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["x.mkv"]


def test_a_later_run_goes_on(server: Server, tmp_path: Path) -> None:
    server.files["/x.mkv"], server.break_after = DATA, [100_000]
    with pytest.raises(UserError, match="100000 of 300000 bytes"):
        fetch(f"{server.address}/x.mkv", tmp_path / "x.mkv", tries=1)
    assert not (tmp_path / "x.mkv").exists()
    fetch(f"{server.address}/x.mkv", tmp_path / "x.mkv", tries=1)
    assert (tmp_path / "x.mkv").read_bytes() == DATA and server.requests[-1][1] == "bytes=100000-"


def test_a_changed_file_is_fetched_from_its_start(server: Server, tmp_path: Path) -> None:
    server.files["/x.mkv"], server.break_after = DATA, [100_000]
    with pytest.raises(UserError):
        fetch(f"{server.address}/x.mkv", tmp_path / "x.mkv", tries=1)
    server.files["/x.mkv"] = DATA[::-1]
    fetch(f"{server.address}/x.mkv", tmp_path / "x.mkv", tries=1)
    assert (tmp_path / "x.mkv").read_bytes() == DATA[::-1]


def test_busy_servers_are_asked_again_and_refusals_are_not(server: Server, tmp_path: Path) -> None:
    server.files["/x.mkv"], server.fail_with = DATA, [503, 429]
    assert fetch(f"{server.address}/x.mkv", tmp_path / "x.mkv", wait=0.0)
    with pytest.raises(UserError, match="404"):
        fetch(f"{server.address}/y.mkv", tmp_path / "y.mkv", wait=0.0)
    assert len(server.requests) == 4


def test_wrong_sums_leave_no_file(server: Server, tmp_path: Path) -> None:
    server.files["/x.mkv"] = DATA
    with pytest.raises(UserError, match="MD5"):
        fetch(f"{server.address}/x.mkv", tmp_path / "x.mkv", md5="0" * 32, tries=2, wait=0.0)
    assert not (tmp_path / "x.mkv").exists()
    (tmp_path / "sums").write_text("no sum\n")
    with pytest.raises(UserError, match="row 1"):
        read_checksums(tmp_path / "sums")


def test_a_cut_keeps_times(tmp_path: Path) -> None:
    rate = Fraction(24000, 1001)
    write_numbered_video(tmp_path / "film.mkv", 240, rate, codec="libx264", g="50")
    frames = cut_video(tmp_path / "film.mkv", tmp_path / "cut.mp4", 3.0, 7.0, short_side=32)
    assert abs(frames - 4 * rate) <= 1.5
    info = open_source(str(tmp_path / "cut.mp4"))
    assert (info.height, info.width) == (32, 80) and abs(info.duration - 4) < 0.06
    times = np.array([0.0, 1.234, 3.9])
    for frame, time in zip(read_frames(str(tmp_path / "cut.mp4"), times), times, strict=True):
        assert abs(read_number(frame) / float(rate) - (3.0 + time)) <= 1.01 / float(rate)
    with pytest.raises(UserError, match="ends before"):
        cut_video(tmp_path / "film.mkv", tmp_path / "other.mp4", 900.0, 1801.0)
    assert not list(tmp_path.glob("*.part*"))


@pytest.fixture
def script() -> ModuleType:
    return load_script("datasets/prepare_ava.py")


@pytest.mark.parametrize("cut", [False, True])
def test_the_whole_preparation(
    script: ModuleType, server: Server, tmp_path: Path, cut: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "CUT", (1.0, 2.0))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("ava_v2.2/ava_train_v2.2.csv", "a,0902,0.1,0.1,0.5,0.5,1,0\n")
        file.writestr("../../evil.csv", "")
    server.files["/annotations/ava_v2.2.zip"] = archive.getvalue()
    server.files["/annotations/ava_file_names_trainval_v2.1.txt"] = b"a.mkv\nb.mp4\nmissing.mkv\n"
    for name in ("a.mkv", "b.mp4"):
        write_numbered_video(tmp_path / name, 75, Fraction(25), codec="libx264")
        server.files[f"/trainval/{name}"] = (tmp_path / name).read_bytes()
    out = tmp_path / "root" / "ava"
    flags = [
        "--output",
        str(out),
        "--versions",
        "2.2",
        "--mirror",
        server.address,
        *(["--cut"] if cut else []),
    ]
    # One film is missing on the server; the others come all the same.
    assert script.main(flags) == 1
    videos = sorted(path.name for path in (out / "videos").iterdir())
    assert videos == (["a.mp4", "b.mp4"] if cut else ["a.mkv", "b.mp4"])
    assert abs(open_source(str(out / "videos" / videos[0])).duration - (1.0 if cut else 3.0)) < 0.1
    assert (out / "annotations" / "ava_train_v2.2.csv").is_file()
    assert not (tmp_path / "evil.csv").exists() and not (tmp_path / "root" / "evil.csv").exists()
    before = len(server.requests)
    assert script.main([*flags, "--only", "a", "b"]) == 0
    assert len(server.requests) == before
    if cut:
        # A film that was there before stays after cutting; those that were downloaded are gone.
        assert not list((out / "films").glob("[ab].*"))
        (out / "videos" / "b.mp4").unlink()
        (out / "films" / "b.mp4").write_bytes((tmp_path / "b.mp4").read_bytes())
        assert script.main([*flags, "--only", "b"]) == 0
        assert (out / "videos" / "b.mp4").is_file() and (out / "films" / "b.mp4").is_file()
    # So does an archive of somebody else's that is none.
    (out / "annotations" / "ava_v2.2.zip").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        script.main(flags)
    assert (out / "annotations" / "ava_v2.2.zip").read_text() == "mine"


def test_lists_can_not_write_elsewhere(
    script: ModuleType, server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.files["/annotations/ava_file_names_trainval_v2.1.txt"] = b"../a.mkv\n"
    with pytest.raises(SystemExit, match="2"):
        script.main(["--output", str(tmp_path), "--versions", "--mirror", server.address])
    assert "row 1" in capsys.readouterr().err
