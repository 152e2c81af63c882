"""Addresses of the network, served by a server of the test on 127.0.0.1."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from numbered_video import read_number, write_numbered_video
from tiny import CONFIG, EAGER, ROOT, SMALLER, tiny_cfg

from mestad_d2.errors import UserError
from mestad_d2.inference.action_names import ActionNames
from mestad_d2.inference.batch import worker_setup
from mestad_d2.inference.batch.jobs import result_name
from mestad_d2.inference.predictor import VideoPredictor
from mestad_d2.inference.speed.modes import SpeedMode
from mestad_d2.video.live.address import is_address, shown_address
from mestad_d2.video.live.frames import LiveFrames
from mestad_d2.video.source import open_source

FRAMES = 60


class Server:
    """Serves ``/file.mp4`` with its length, and ``/live`` without: parts of a stream, then the connection ends.

    Attributes:
        connections: to ``/live``, so far.
        parts: (connection from 0) -> what is sent, with pauses where it yields nothing.
    """

    def __init__(self, folder: Path) -> None:
        self.connections, self.parts = 0, lambda number: iter(())
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/live":
                    number, outer.connections = outer.connections, outer.connections + 1
                    self.send_response(200)
                    self.send_header("Content-Type", "video/mp2t")
                    self.end_headers()
                    try:
                        for part in outer.parts(number):
                            self.wfile.write(part)
                            self.wfile.flush()
                    except OSError:
                        pass
                    return
                path = folder / self.path.lstrip("/")
                content = path.read_bytes() if path.is_file() else b""
                self.send_response(200 if content else 404)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of a folder with a film and the same as a transport stream."""
    folder = tmp_path / "www"
    folder.mkdir()
    write_numbered_video(folder / "film.mp4", FRAMES, Fraction(20))
    write_numbered_video(folder / "film.ts", FRAMES, Fraction(20), codec="libx264", g="10", bf="0")
    (folder / "list.m3u8").write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:3,\nfilm.ts\n#EXT-X-ENDLIST\n"
    )
    (folder / "page.html").write_text("<html>no video</html>")
    server = Server(folder)
    yield server
    server.close()


def whole(folder: Path) -> Callable[[int], Iterator[bytes]]:
    """All of the film on each connection."""
    return lambda number: iter([(folder / "www" / "film.ts").read_bytes()])


def test_what_is_an_address() -> None:
    for address in ("rtsp://cam/1", "RTSPS://h", "http://h/a.mp4", "https://u:p@h/x?y"):
        assert is_address(address)
    for other in (
        "a.mp4",
        "http:",
        "file:///etc/passwd",
        "concat:a|b",
        "tcp://h:1",
        "udp://h:1",
        "camera:0",
        "rtsp:a",
    ):
        assert not is_address(other)
    assert shown_address("rtsp://me:secret@cam:554/1") == "rtsp://cam:554/1"
    assert shown_address("a@b.mp4") == "a@b.mp4" and "secret" not in result_name("rtsp://me:secret@cam")


def test_a_film_at_an_address_is_read_whole(server: Server) -> None:
    stream = LiveFrames(f"{server.address}/film.mp4", latency=0.1)
    found = []
    for frame in stream:
        found.append((round(frame.time, 3), read_number(frame.image)))
        # Slower than the latency of a live stream allows.
        time.sleep(0.005)
    assert not stream.live and stream.dropped == 0
    assert found == [(round(index / 20, 3), index) for index in range(FRAMES)]


@pytest.mark.parametrize("name", ["nothing.mp4", "page.html", "list.m3u8"])
def test_what_is_no_video_is_one_line(server: Server, name: str) -> None:
    with pytest.raises(UserError, match="no video comes from this address") as error:
        LiveFrames(f"{server.address}/{name}")
    assert "\n" not in str(error.value)


def test_nobody_answers(server: Server) -> None:
    server.close()
    for address in (f"{server.address}/film.mp4", server.address.replace("http://", "rtsp://me:secret@")):
        with pytest.raises(UserError, match="no video comes from this address") as error:
            LiveFrames(address)
        assert "secret" not in str(error.value)


def test_only_what_the_user_gave_is_opened(server: Server) -> None:
    with pytest.raises(UserError, match="no such video file"):
        open_source(f"{server.address}/film.mp4")


def test_a_lost_stream_is_opened_again_a_few_times(server: Server, tmp_path: Path, caplog) -> None:
    content = (tmp_path / "www" / "film.ts").read_bytes()
    # Two connections bring frames, all others nothing.
    server.parts = lambda number: iter([content] if number < 2 else [])
    stream = LiveFrames(f"{server.address}/live", tries=3, wait=0.01, latency=60)
    frames = list(stream)
    times = [frame.time for frame in frames]
    assert stream.live and [read_number(frame.image) for frame in frames] == [*range(FRAMES)] * 2
    assert all(a < b for a, b in itertools.pairwise(times))
    assert server.connections == 2 + 3 and "ends here" in caplog.text and "trying again" in caplog.text


def test_a_slow_reader_is_not_left_behind(server: Server, tmp_path: Path) -> None:
    server.parts = whole(tmp_path)
    stream = LiveFrames(f"{server.address}/live", tries=1, wait=0.01, latency=0.5, seconds=2.9)
    frames = iter(stream)
    first = next(frames)
    deadline = time.monotonic() + 10
    while not stream._ended and stream._last < 2.9 and time.monotonic() < deadline:
        time.sleep(0.01)
    rest = [frame.time for frame in frames]
    assert first.time < 0.1 + 3 and stream.dropped > 20
    # What waits is at most the latency, and key frames of the part that is gone are left out.
    assert rest[-1] - rest[0] <= 0.5 + 1e-6
    keys = list(itertools.takewhile(lambda key: key < 3, stream.key_times(4)))
    assert keys and keys[0] >= rest[0] - 1e-6


def test_a_stream_that_falls_silent_ends_at_its_seconds(server: Server, tmp_path: Path) -> None:
    content = (tmp_path / "www" / "film.ts").read_bytes()
    done = threading.Event()

    def parts(number: int) -> Iterator[bytes]:
        yield content
        done.wait(20)

    server.parts = parts
    start = time.monotonic()
    frames = list(LiveFrames(f"{server.address}/live", seconds=0.5, latency=0.3))
    assert frames and max(frame.time for frame in frames) <= 0.5
    stream = LiveFrames(f"{server.address}/live", seconds=5, latency=0.3)
    threading.Timer(0.5, stream.stop).start()
    list(stream)
    done.set()
    assert time.monotonic() - start < 8


SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 33\r\na=control:track1\r\n"
)


class Camera(socketserver.StreamRequestHandler):
    """A camera by RFC 2326 that plays ``content``, a transport stream, in packets between its answers (RFC 2250)."""

    content, plays = b"", 0

    def handle(self) -> None:
        while (line := self.rfile.readline().decode().split()) and len(line) == 3:
            headers = dict(
                field.strip().split(": ", 1) for field in iter(lambda: self.rfile.readline().decode(), "\r\n")
            )
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {headers['CSeq']}\r\nSession: 1\r\n"
            body = ""
            if line[0] == "DESCRIBE":
                body, answer = SDP, f"{answer}Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n"
            elif line[0] == "SETUP":
                answer += f"Transport: {headers['Transport']}\r\n"
            self.wfile.write(f"{answer}\r\n{body}".encode())
            if line[0] == "PLAY":
                type(self).plays += 1
                self._play()
                return

    def _play(self) -> None:
        size = 7 * 188
        for number in range(0, len(self.content), size):
            head = struct.pack(">BBHII", 0x80, 33, number // size & 0xFFFF, number, 1)
            packet = head + self.content[number : number + size]
            self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)


def test_a_camera_by_rtsp(tmp_path: Path) -> None:
    write_numbered_video(tmp_path / "a.ts", FRAMES, Fraction(20), codec="libx264", g="10", bf="0")
    handler = type("Played", (Camera,), {"content": (tmp_path / "a.ts").read_bytes()})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stream = LiveFrames(
            f"rtsp://127.0.0.1:{server.server_address[1]}/1", seconds=4, wait=0.01, latency=60
        )
        frames = list(stream)
        server.shutdown()
    numbers = [read_number(frame.image) for frame in frames]
    assert stream.live and handler.plays >= 2
    # The film, and after the connection was lost the film again; a stream's last picture may be cut off.
    assert set(range(FRAMES - 2)) <= set(numbers[:FRAMES]) and numbers.count(5) >= 2
    times = [frame.time for frame in frames]
    assert times[:10] == pytest.approx([n / 20 for n in range(10)], abs=0.002) and times == sorted(times)


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch):
    """The tool, with a model of random weights."""
    from detectron2.modeling import build_model

    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    tool = importlib.import_module("demo")
    model = build_model(tiny_cfg(*EAGER)).eval()
    monkeypatch.setattr(tool, "VideoPredictor", lambda cfg, speed, **kw: VideoPredictor(cfg, model, **kw))
    return tool


def run(demo, output: Path, *flags: object) -> int:
    known = ("--config-file", CONFIG, "--output", output, "--person-threshold", 0, *flags)
    return demo.main(demo.parse([str(flag) for flag in (*known, "--opts", *SMALLER)]))


def test_the_demo_watches_a_stream_until_ctrl_c(demo, server: Server, tmp_path: Path, capfd) -> None:
    content = (tmp_path / "www" / "film.ts").read_bytes()
    done = threading.Event()

    def parts(number: int) -> Iterator[bytes]:
        yield content
        # While the tool waits for more.
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        done.wait(20)

    server.parts = parts
    before = signal.getsignal(signal.SIGINT)
    assert run(demo, tmp_path / "out", "--input", f"{server.address}/live") == 0
    done.set()
    assert signal.getsignal(signal.SIGINT) is before and "Traceback" not in capfd.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "out" / "live.jsonl").read_text().splitlines()]
    assert lines and lines[0]["timestamp"] == 0
    assert (tmp_path / "out" / "live_recording.mp4").is_file() and (tmp_path / "out" / "live.mp4").is_file()


def test_streams_of_the_tools(demo, server: Server, tmp_path: Path, monkeypatch, capfd) -> None:
    film = f"{server.address}/film.mp4"
    assert run(demo, tmp_path / "out", "--input", film, f"{server.address}/nothing.mp4") == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1 and "nothing.mp4: no video comes" in errors[0]
    assert not list((tmp_path / "out").glob("nothing*"))
    lines = [json.loads(line) for line in (tmp_path / "out" / "film.jsonl").read_text().splitlines()]
    assert [line["timestamp"] for line in lines] == [0, 1, 2]
    with pytest.raises(SystemExit, match="2"):
        run(demo, tmp_path / "no", "--input", film, "--start", 1)
    assert "--start and --end are for films" in capfd.readouterr().err and not (tmp_path / "no").exists()

    model = demo.VideoPredictor(tiny_cfg(), None).model
    monkeypatch.setattr(
        worker_setup, "VideoPredictor", lambda cfg, speed, **kw: VideoPredictor(cfg, model, **kw)
    )
    setup = worker_setup.WorkerSetup(tiny_cfg(), ActionNames({}), SpeedMode(), 1.0, 0.0, 0.0, 1)
    found = [json.loads(line) for line in setup(0)(film).decode().splitlines()]
    assert [line["timestamp"] for line in found] == [0, 1, 2] and found[0]["video"] == film
    server.parts = whole(tmp_path)
    with pytest.raises(UserError, match="a stream has no end; give --seconds"):
        setup(0)(f"{server.address}/live")
