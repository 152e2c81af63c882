"""The app as a process of its own, with a model of random weights, and a visitor that needs no browser."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from detectron2.modeling import build_model
from tiny import CONFIG, EAGER, ROOT, SMALLER, tiny_cfg


@contextmanager
def running_app(place: Path, *flags: object) -> Iterator[str]:
    """Start ``tools/app.py`` with all of its files below ``place``; it must have cleaned up at its end."""
    torch.save({"model": build_model(tiny_cfg()).state_dict()}, place / "model.pth")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (place / "temporary").mkdir()
    environment = {**os.environ, "DETECTRON2_DATASETS": str(place / "datasets"), "PYTHONPATH": str(ROOT)}
    environment |= {"TMPDIR": str(place / "temporary"), "PYTHONWARNINGS": "ignore"}
    arguments = ["--config-file", CONFIG, "--port", port, "--person-threshold", 0, "--score-threshold", 0]
    arguments += ["--max-megabytes", 1, *flags]
    arguments += ["--opts", *SMALLER, *EAGER, "MODEL.WEIGHTS", place / "model.pth"]
    with open(place / "log.txt", "w") as log:
        server = subprocess.Popen(
            [sys.executable, ROOT / "tools" / "app.py", *map(str, arguments)],
            stdout=log, stderr=log, env=environment,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    try:
        _wait_for(url, server, place / "log.txt")
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(600)
    assert not list((place / "temporary").glob("mestad-app-*"))


def _wait_for(url: str, server: subprocess.Popen, log: Path) -> None:
    # A machine with much other work takes many minutes for the imports.
    for _ in range(3600):
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.25)
    raise AssertionError(f"the app did not start: {log.read_text()[-2000:]}")


class Visitor:
    """Does what the page does: uploads, detects, draws and downloads."""

    def __init__(self, url: str) -> None:
        self.url, self.session = url, uuid.uuid4().hex
        config = json.load(urllib.request.urlopen(url + "config", timeout=30))
        self.calls = {d["api_name"] or d["id"]: d for d in config["dependencies"]}
        self.order = [d["id"] for d in config["dependencies"]]

    def upload(self, path: Path, **headers: str) -> str:
        """The path under which the server keeps the file."""
        mark = uuid.uuid4().hex
        body = (
            f'--{mark}\r\nContent-Disposition: form-data; name="files"; filename="{path.name}"\r\n'
            "Content-Type: video/mp4\r\n\r\n"
        ).encode() + path.read_bytes() + f"\r\n--{mark}--\r\n".encode()  # fmt: skip
        request = urllib.request.Request(self.url + "gradio_api/upload", data=body, headers=headers)
        request.add_header("Content-Type", f"multipart/form-data; boundary={mark}")
        return json.load(urllib.request.urlopen(request, timeout=60))[0]

    def call(self, number: int, data: list) -> list:
        """What the page's event ``number`` (detect, draw after it, draw by a slider ...) gives."""
        body = {"data": data, "fn_index": self.order[number], "session_hash": self.session}
        request = urllib.request.Request(
            self.url + "gradio_api/queue/join", data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        event = json.load(urllib.request.urlopen(request, timeout=60))["event_id"]
        stream = urllib.request.urlopen(
            f"{self.url}gradio_api/queue/data?session_hash={self.session}", timeout=300
        )
        for line in stream:
            if line.startswith(b"data:"):
                message = json.loads(line[5:])
                if message.get("event_id") == event and message["msg"] == "process_completed":
                    assert message["success"], message
                    return message["output"]["data"]
        raise AssertionError("the stream ended without a result")

    def detect(self, uploaded: str) -> None:
        """Press the button."""
        video = {"path": uploaded, "meta": {"_type": "gradio.FileData"}}
        self.call(0, [video, None])

    def draw(self, score: float = 0.0, person: float = 0.0) -> list:
        """Video, timeline, summary and csv."""
        return self.call(1, [None, score, person])

    def fetch(self, file: Any, **headers: str) -> tuple[int, bytes]:
        """Status and content of a file that the page shows, or of a path."""
        path = file if isinstance(file, str) else find_path(file)
        request = urllib.request.Request(f"{self.url}gradio_api/file={path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


def find_path(value: Any) -> str:
    """The first ``path`` in what an event gave."""
    if isinstance(value, dict):
        if isinstance(value.get("path"), str):
            return value["path"]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            if found := find_path(item):
                return found
    return ""
