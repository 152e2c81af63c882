"""Download large files over http: resumed, verified, several at a time."""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mestad_d2.errors import UserError

CHUNK = 1 << 20
TIMEOUT = 60.0
_MD5 = re.compile(r"[0-9a-f]{32}")

# Called with the number of bytes that came in.
Progress = Callable[[int], object]


def fetch(
    url: str,
    path: Path,
    *,
    md5: str | None = None,
    tries: int = 5,
    wait: float = 2.0,
    progress: Progress | None = None,
) -> bool:
    """Fetch ``url`` to ``path``, going on where an earlier call was interrupted.

    Data is written to ``<path>.part``, which is renamed only when its length, and its MD5 sum where one is
    known, are right.

    Args:
        url: http or https.
        md5: expected sum in hex; by default the server's ETag where that is one.
        tries: number of attempts; each wait is twice as long as the last.
        wait: seconds before the second try.
        progress: called with the bytes of every piece.

    Returns:
        whether anything was fetched (False: the file was there).

    Raises:
        UserError: the server refuses, or the file stays incomplete or wrong.
    """
    if path.is_file():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for attempt in range(tries):
        if attempt:
            time.sleep(wait * 2 ** (attempt - 1))
        try:
            tag = _fetch_rest(url, part, progress)
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 416, 429):
                raise UserError(
                    f"{url}: the server answers {error.code} {error.reason}; check the address"
                ) from error
            failure = f"{error.code} {error.reason}"
            if error.code == 416:
                part.unlink(missing_ok=True)
            continue
        except (OSError, http.client.HTTPException) as error:
            failure = " ".join(str(error).split()) or type(error).__name__
            continue
        except ValueError as error:
            raise UserError(f"{url}: no address that can be fetched ({error})") from error
        wanted = md5 or (tag if _MD5.fullmatch(tag) else None)
        if wanted and file_md5(part) != wanted.lower():
            part.unlink()
            failure = f"its MD5 sum is not {wanted}"
            continue
        _tag_file(part).unlink(missing_ok=True)
        part.rename(path)
        return True
    raise UserError(f"{url}: not fetched after {tries} tries ({failure}); run it again to go on")


def _tag_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _fetch_rest(url: str, part: Path, progress: Progress | None) -> str:
    """Append what is missing to ``part``; returns the server's ETag without quotes."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "mestad_d2"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if _tag_file(part).is_file():
            # Without this, the rest of a changed file would be appended to the start of the old one.
            request.add_header("If-Range", _tag_file(part).read_text())
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        tag = answer.headers.get("ETag", "")
        resumed = answer.status == 206
        if tag:
            _tag_file(part).write_text(tag)
        length = answer.headers.get("Content-Length")
        total = int(length) + (have if resumed else 0) if length else None
        if progress and resumed:
            progress(have)
        with part.open("ab" if resumed else "wb") as file:
            while piece := answer.read(CHUNK):
                file.write(piece)
                if progress:
                    progress(len(piece))
    got = part.stat().st_size
    if total is not None and got != total:
        raise OSError(f"{got} of {total} bytes")
    return tag.strip('"')


def file_md5(path: Path) -> str:
    """Return the MD5 sum of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def in_parallel(jobs: Iterable[tuple[str, Callable[[], object]]], workers: int) -> list[str]:
    """Run named jobs in threads; returns the message of each that failed, and lets the others finish."""
    failures = []
    with ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
        running = [(name, pool.submit(job)) for name, job in jobs]
        try:
            for name, future in running:
                try:
                    future.result()
                except UserError as error:
                    failures.append(str(error))
                except OSError as error:
                    failures.append(f"{name}: {error}")
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return failures


def read_checksums(path: Path) -> dict[str, str]:
    """Read file name -> MD5 sum from a list that ``md5sum`` wrote.

    Raises:
        UserError: names file and row.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no list of checksums ({error})") from error
    sums = {}
    for row, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        value, _, name = line.strip().partition(" ")
        if not _MD5.fullmatch(value.lower()) or not name.strip():
            raise UserError(f"{path}: row {row}: write an MD5 sum, two spaces and a file name")
        sums[Path(name.strip().lstrip("*")).name] = value.lower()
    return sums
