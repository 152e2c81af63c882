"""Who may send to the app, how much, and how long it stays."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
import urllib.request
from pathlib import Path

import pytest
from loading import load_script

from mestad_d2.errors import UserError
from mestad_d2.inference.app.guard import Guard, is_loopback, refusal
from mestad_d2.inference.app.page import Access, launch_page
from mestad_d2.inference.app.uploads import Uploads


@pytest.mark.parametrize(
    ("bound", "method", "headers", "refused"),
    [
        ("127.0.0.1", "GET", {"host": "127.0.0.1:7860"}, False),
        ("127.0.0.1", "GET", {"host": "localhost:7860"}, False),
        ("::1", "GET", {"host": "[::1]:7860"}, False),
        ("127.0.0.1", "GET", {"host": "rebound.example:7860"}, True),
        ("127.0.0.1", "GET", {"host": "127.0.0.1.rebound.example"}, True),
        ("127.0.0.1", "GET", {}, True),
        ("0.0.0.0", "GET", {"host": "cameras.example"}, False),
        ("0.0.0.0", "POST", {"host": "cameras.example", "origin": "https://cameras.example"}, False),
        ("0.0.0.0", "POST", {"host": "cameras.example", "origin": "https://other.example"}, True),
        ("127.0.0.1", "POST", {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:7860"}, False),
        ("127.0.0.1", "POST", {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:8000"}, True),
        ("127.0.0.1", "POST", {"host": "127.0.0.1:7860", "origin": "null"}, True),
        ("127.0.0.1", "POST", {"host": "127.0.0.1:7860"}, False),
    ],
)
def test_foreign_hosts_and_origins_are_refused(
    bound: str, method: str, headers: dict[str, str], refused: bool
) -> None:
    assert (refusal(method, headers, bound) is not None) == refused


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("0.0.0.0", "10.0.0.1", "localhost.example", "", "1270.0.0.1")))


def uploads(folder: Path, keep: float = 60.0) -> Uploads:
    return Uploads(folder, visit_bytes=1000, total_bytes=2500, keep=keep)


def test_uploads_are_bounded_a_visit_and_in_all(tmp_path: Path) -> None:
    kept = uploads(tmp_path)
    for number, visitor in enumerate("aabb"):
        with kept.room(visitor, 450):
            path = tmp_path / f"{number}.mp4"
            path.write_bytes(b"x" * 450)
            kept.add(visitor, [str(path)])
    with pytest.raises(UserError, match="take more than"), kept.room("a", 200):
        pass
    with kept.room("c", 600), pytest.raises(UserError, match="no room"), kept.room("d", 200):
        pass  # the room of a running upload counts
    (tmp_path / "0.mp4").unlink()
    with kept.room("a", 500):
        pass
    os.link(tmp_path / "1.mp4", tmp_path / "again.mp4")
    assert kept.used() == 3 * 450


def test_files_go_a_while_after_their_last_use(tmp_path: Path) -> None:
    kept = uploads(tmp_path, keep=100)
    for name in ("old/a.mp4", "used/b.mp4", "new/c.mp4"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x" * 10)
        kept.add("v", [str(tmp_path / name)])
    for name in ("old/a.mp4", "used/b.mp4"):
        os.utime(tmp_path / name, (time.time() - 200,) * 2)
    kept.touch(tmp_path / "used" / "b.mp4")
    # A drawing has made its folder and writes its first file soon.
    (tmp_path / "drawn_1").mkdir()
    (tmp_path / "gone" / "drawn_1").mkdir(parents=True)
    (tmp_path / "gone" / "drawn_1" / "d.mp4").touch()
    os.utime(tmp_path / "gone" / "drawn_1" / "d.mp4", (time.time() - 200,) * 2)
    kept.sweep()
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "drawn_1", "new", "new/c.mp4", "used", "used/b.mp4",
    ]  # fmt: skip


def ask(guard: Guard, path: str, headers: dict[str, str], method: str = "POST") -> tuple[int, bytes]:
    """Status and body of one request through the middleware."""
    sent: list[dict] = []

    async def send(message: dict) -> None:
        sent.append(message)

    async def receive() -> dict:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http", "method": method, "path": path, "client": ("1.2.3.4", 5),
        "headers": [(k.encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip
    asyncio.run(guard(scope, receive, send))
    return sent[0]["status"], b"".join(m.get("body", b"") for m in sent)


def test_the_guard_counts_what_gradio_has_taken(tmp_path: Path) -> None:
    async def gradio(scope: dict, receive, send) -> None:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.mp4"
        path.write_bytes(b"x" * 600)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps([str(path)]).encode()})

    guard = Guard(gradio, "127.0.0.1", uploads(tmp_path))
    here = {"host": "127.0.0.1:1", "content-length": "600"}
    assert ask(guard, "/gradio_api/upload", here)[0] == 200
    status, body = ask(guard, "/gradio_api/upload", here)
    assert status == 413 and b"take more than" in body
    assert ask(guard, "/gradio_api/upload", {"host": "127.0.0.1:1"})[0] == 411
    assert ask(guard, "/gradio_api/upload", here | {"host": "other.example"})[0] == 403
    assert len(list(tmp_path.iterdir())) == 1
    assert ask(guard, "/config", {"host": "localhost"}, "GET")[0] == 200


@pytest.mark.parametrize(("chunks", "read"), [(3, 3), (50, 10)])
def test_a_refused_upload_is_read_to_a_limit_before_the_answer(
    tmp_path: Path, chunks: int, read: int
) -> None:
    """A browser shows the reason only if it could send; what never ends is not waited for."""
    events: list[object] = []

    async def receive() -> dict[str, object]:
        events.append("read")
        return {"type": "http.request", "body": bytes(100), "more_body": events.count("read") < chunks}

    async def send(message: dict[str, object]) -> None:
        events.append(message.get("status", "body"))

    guard = Guard(None, "127.0.0.1", Uploads(tmp_path, 1000, 10_000, 60.0))
    headers = [(b"host", b"127.0.0.1:7860"), (b"content-length", b"1001")]
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": headers}
    asyncio.run(guard(scope, receive, send))
    assert events == ["read"] * read + [413, "body"]


def test_log_in(tmp_path: Path) -> None:
    log_in = load_script("tools/app.py").log_in
    (tmp_path / "login").write_text("me:a:b\nmore")
    assert log_in(None) is None and log_in("me:secret") == ("me", "secret")
    assert log_in(f"@{tmp_path / 'login'}") == ("me", "a:b")
    for wrong in ("me", "me:", ":secret", f"@{tmp_path / 'absent'}"):
        with pytest.raises(UserError, match="--auth"):
            log_in(wrong)


@pytest.mark.parametrize(
    ("host", "login", "warned"),
    [("0.0.0.0", None, True), ("0.0.0.0", ("me", "secret"), False), ("127.0.0.1", None, False)],
)
def test_a_page_for_everybody_is_warned_of(
    host: str, login: tuple[str, str] | None, warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("starlette")
    launched = {}

    class Blocks:
        def queue(self, **options: object) -> None:
            pass

        def launch(self, **options: object) -> tuple[None, str, None]:
            launched.update(options)
            return None, "address", None

    class Gradio:
        class themes:  # noqa: N801  (gradio's own name)
            Soft = staticmethod(lambda **options: None)

    launch_page(Gradio, Blocks(), Access(host, 1, login), 1, uploads(tmp_path))
    assert ("everybody who reaches 0.0.0.0:1" in capsys.readouterr().err) == warned
    assert launched["auth"] == login and launched["server_name"] == host and not launched["share"]


def test_a_page_that_takes_long_to_come_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gradio asks for it once, and gives up on a machine with much to do."""
    gr = pytest.importorskip("gradio")
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with gr.Blocks() as blocks:
        gr.Markdown("here")
    try:
        address = launch_page(gr, blocks, Access(port=port), 1, uploads(tmp_path), wait=False)
        assert urllib.request.urlopen(address, timeout=60).status == 200
    finally:
        blocks.close()
