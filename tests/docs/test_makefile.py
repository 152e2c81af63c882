"""Set-up with a broken environment says what to remove, and removes nothing itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tiny import ROOT


@pytest.mark.parametrize("kind", ["no python", "python that does not run", "dangling link", "file"])
def test_a_broken_environment_is_one_line(tmp_path: Path, kind: str) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.txt", "setup.py"):
        (tmp_path / name).touch()
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "install_detectron2.py").touch()
    venv = tmp_path / ".venv"
    if kind == "dangling link":
        venv.symlink_to("nowhere")
    elif kind == "file":
        venv.touch()
    else:
        (venv / "bin").mkdir(parents=True)
    if kind == "python that does not run":
        # As a copied environment has it: the link of its interpreter leads nowhere, or to another machine's.
        (venv / "bin" / "python").write_text("#!/nowhere/python3\n")
        (venv / "bin" / "python").chmod(0o755)
    done = subprocess.run(["make", "setup"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(lines) == 1 and lines[0].startswith("error: .venv is there") and "rm -rf .venv" in lines[0]
    assert venv.is_symlink() or venv.exists()


def test_the_lock_file_has_every_pin_and_a_hash_for_all() -> None:
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    pins = {line.lower() for line in lines if line}
    text = (ROOT / "requirements.lock").read_text()
    entries = [line for line in text.replace("\\\n", " ").splitlines() if not line.startswith("#")]
    assert pins and pins <= {entry.split()[0] for entry in entries}
    # Nothing but packages with hashes: no addresses, no options.
    hashed = re.compile(r"[\w.-]+==\S+( ; [^;]*?)?( +--hash=sha256:[0-9a-f]{64})+")
    assert [entry for entry in entries if not hashed.fullmatch(entry)] == []


def test_the_packages_that_build_others_are_installed_by_hash_first() -> None:
    command = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("\tsed"))
    shell = command.strip().replace("$$", "$").partition(">")[0]
    text = subprocess.run(["sh", "-c", shell], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert text.startswith("setuptools==") and text.count("==") == 1 and text.count("--hash") >= 2


@pytest.mark.parametrize(
    ("given", "hashed"),
    [("LOCKED=1", True), ("LOCKED=yes", True), ("LOCKED=0", False), ("LOCKED=no", False), ("LOCKED=", False)],
)
def test_hashes_are_asked_for_with_locked(given: str, hashed: bool) -> None:
    command = ["make", "--dry-run", "--always-make", "setup", given]
    commands = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert ("--require-hashes" in commands) == hashed


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", version)))


def test_versions_with_published_holes_are_excluded() -> None:
    """What docs/reliability.md says to be excluded is so in setup.py, and no pin is older."""
    table = (ROOT / "docs" / "reliability.md").read_text()
    excluded = dict(re.findall(r"\| `([\w-]+)>=([\d.]+)` \|", table))
    assert {
        "torch",
        "gradio",
        "opencv-python-headless",
        "Pillow",
        "onnx",
        "ray",
        "transformers",
    } <= excluded.keys()
    setup = (ROOT / "setup.py").read_text()
    pinned = "".join((ROOT / name).read_text() for name in ("requirements.txt", "requirements-test.txt"))
    for name, version in excluded.items():
        floors = re.findall(rf'"{name}>=([\d.]+)"', setup)
        assert floors and all(numbers(floor) >= numbers(version) for floor in floors), name
        pins = re.findall(rf"^{name}==([\d.]+)", pinned, re.MULTILINE)
        assert all(numbers(pin) >= numbers(version) for pin in pins), name
