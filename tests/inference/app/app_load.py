"""The app under many visitors for a while: ``python app_load.py FOLDER MINUTES CLIENTS``; prints a json line.

Each visitor uploads a video of a length of his own, detects, moves the sliders, downloads the csv and checks that it is
his; after five videos he leaves and another one comes.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

from inference.app.app_server import Visitor, running_app
from numbered_video import write_numbered_video

VIDEOS_A_VISIT = 5


def server_of(place: Path) -> int:
    """Process id of the app whose files are below ``place``."""
    found = (int(p) for p in os.listdir("/proc") if p.isdigit() and p != str(os.getpid()))
    return next(pid for pid in found if str(place / "model.pth").encode() in _command(pid))


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def state(pid: int) -> dict[str, int]:
    """Resident MB, open files and threads of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return {
        "mb": pages * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "files": len(os.listdir(f"/proc/{pid}/fd")),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
    }


def visit(url: str, place: Path, number: int, end: float, total: list) -> dict[str, list]:
    """Be one client until ``end`` (monotonic), and count in ``total``; times of whole rounds in s, what went wrong."""
    frames = 10 * (number % 8 + 1)
    video = place / f"film_{number}.mp4"
    write_numbered_video(video, frames, Fraction(20))
    took, wrong, visitor = [], [], None
    while time.monotonic() < end:
        began = time.monotonic()
        try:
            if visitor is None or len(took) % VIDEOS_A_VISIT == 0:
                visitor = Visitor(url)
            visitor.detect(visitor.upload(video))
            for person in (0.0, 0.5, 0.0):
                drawn = visitor.draw(person=person)
            status, content = visitor.fetch(drawn[3])
            rows = [line.split(",") for line in content.decode().splitlines()]
            # Two key frames a second.
            mine = {row[0] for row in rows} == {video.stem} and len({row[1] for row in rows}) == frames // 10
            if status != 200 or not mine:
                wrong.append(f"client {number}: status {status}, {len(rows)} rows of another video or length")
        except Exception as error:  # counted, whatever it is
            wrong.append(f"client {number}: {type(error).__name__}: {error}")
            visitor = None
            time.sleep(0.5)
        took.append(time.monotonic() - began)
        total.append(None)
    return {"took": took, "wrong": wrong}


def load(place: Path, minutes: float, clients: int) -> dict[str, object]:
    """Serve the app, and send it ``clients`` at once; memory is compared with that after two videos of each."""
    # What a client may upload in sum counts all of them, as they have one address.
    with running_app(place, "--max-visit-megabytes", 400) as url, ThreadPoolExecutor(clients) as pool:
        begun = time.monotonic()
        end, total = begun + 60 * minutes, []
        jobs = [pool.submit(visit, url, place, n, end, total) for n in range(clients)]
        pid = server_of(place)
        while len(total) < 2 * clients and time.monotonic() < end:
            time.sleep(0.5)
        before, warm = state(pid), len(total)
        done = [job.result() for job in jobs]
        after, seconds = state(pid), time.monotonic() - begun
        left = sum(1 for path in (place / "temporary").rglob("*") if path.is_file())
    took = sorted(time for part in done for time in part["took"])
    wrong = [text for part in done for text in part["wrong"]]
    return {
        "seconds": round(seconds), "clients": clients, "videos": len(took), "requests": 6 * len(took),
        "errors": len(wrong), "first": wrong[:5], "median_s": round(took[len(took) // 2], 2),
        "longest_s": round(took[-1], 2), "warm_after": warm, "warm": before, "at_the_end": after, "files_kept": left,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(load(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))))
