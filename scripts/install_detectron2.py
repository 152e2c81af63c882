#!/usr/bin/env python
"""Install detectron2 0.5 from its archive, unless a detectron2 is installed already.

Upstream detectron2 is installed from source and is not on the package index under its own name. The
index holds ``detectron2-cdo`` 0.5, whose Python files are upstream's tag v0.5 without the C++ sources.
This script downloads that exact archive, compares its sha256 before anything in it is used, mends the two
lines that newer libraries break, puts a small stand-in for the compiled extension beside them and installs
the result as ``detectron2`` 0.5. mestad_d2 uses none of the compiled operators.

Exit status: 0 installed or already there, 1 with one line that says what failed and what to do.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE, VERSION = "detectron2-cdo", "0.5"
SHA256 = "53c9e79e9cc943e80419c588ea44b5479507a8628ed14a4e06bd093e29311b18"
UPSTREAM = "or install upstream's: pip install --no-build-isolation git+https://github.com/facebookresearch/detectron2"

# file, text that newer libraries break, what replaces it
FIXES = (
    ("data/transforms/transform.py", "interp=Image.LINEAR", "interp=Image.BILINEAR"),
    ("model_zoo/model_zoo.py", "import pkg_resources\n", ""),
    (
        "model_zoo/model_zoo.py",
        'pkg_resources.resource_filename(\n        "detectron2.model_zoo", os.path.join("configs", config_path)\n    )',
        'os.path.join(os.path.dirname(__file__), "configs", config_path)',
    ),
)

EXTENSION = '''"""Stands in for the compiled extension, which the archive of detectron2 0.5 lacks."""


def get_compiler_version():
    return "none (installed without the compiled extension)"


def get_cuda_version():
    return "not available"


def has_cuda():
    return False


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def missing(*args, **kwargs):
        raise RuntimeError(
            f"detectron2._C.{name} needs the compiled extension; install detectron2 from source to use it"
        )

    return missing
'''

SETUP = """from setuptools import find_packages, setup

setup(
    name="detectron2",
    version="0.5",
    packages=find_packages(),
    package_data={"detectron2.model_zoo": ["configs/**/*.yaml", "configs/**/*.py", "configs/*.yaml"]},
    install_requires=[
        "Pillow", "matplotlib", "pycocotools", "termcolor", "yacs", "tabulate", "cloudpickle", "tqdm",
        "tensorboard", "fvcore", "iopath", "omegaconf", "hydra-core", "pydot", "future",
    ],
)
"""


def fail(message: str) -> None:
    """Print one line and exit with status 1."""
    print(f"install_detectron2: {message}", file=sys.stderr)
    sys.exit(1)


def one_line(error: Exception) -> str:
    """Return an error's message without line breaks."""
    return " ".join(str(error).split())


def pip(*args: str, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run this interpreter's pip and return its finished process with the output as text."""
    return subprocess.run([sys.executable, "-m", "pip", *args], capture_output=True, text=True, cwd=cwd)


def last_line(process: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of pip's error output."""
    lines = [line for line in (process.stderr + process.stdout).splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no output")


def package_index() -> str:
    """Return the index that pip is set to use, or pip's own default."""
    from pip._internal.models.index import PyPI

    configured = pip("config", "get", "global.index-url")
    return os.environ.get("PIP_INDEX_URL") or configured.stdout.strip() or PyPI.simple_url


def download(folder: Path) -> Path:
    """Download the archive, compare its sha256 and unpack it; nothing in it is run.

    Returns:
        The unpacked folder, below ``folder``.
    """
    from unearth import HashMismatchError, PackageFinder

    unpacked = folder / "unpacked"
    finder = PackageFinder(index_urls=[package_index()], no_binary=[PACKAGE])
    try:
        found = finder.find_best_match(f"{PACKAGE}=={VERSION}").best
        if found is None:
            fail(f"the package index has no {PACKAGE}=={VERSION}; {UPSTREAM}")
        finder.download_and_unpack(found.link, unpacked, folder, hashes={"sha256": [SHA256]})
    except HashMismatchError as error:
        fail(f"the archive is not the expected one, nothing was installed ({one_line(error)}); {UPSTREAM}")
    except Exception as error:  # of the network, in whatever form the client raises it
        fail(f"could not download {PACKAGE}=={VERSION} ({one_line(error)}); check the network, {UPSTREAM}")
    return unpacked


def mend(package: Path) -> None:
    """Replace the lines that newer libraries break, and add the stand-in for the extension."""
    for name, old, new in FIXES:
        path = package / name
        text = path.read_text()
        if old not in text:
            fail(f"{name} of the archive does not hold the line to mend ({old.splitlines()[0]!r})")
        path.write_text(text.replace(old, new))
    (package / "_C.py").write_text(EXTENSION)


def fetch(folder: Path) -> Path:
    """Put a ready ``detectron2`` package below ``folder`` and return the package's path."""
    package = download(folder) / "detectron2"
    mend(package)
    return package


def main() -> None:
    """Install detectron2 0.5 unless a detectron2 is there already."""
    if importlib.util.find_spec("detectron2") is not None:
        probe = subprocess.run(
            [sys.executable, "-c", "import detectron2; print(detectron2.__version__)"],
            capture_output=True, text=True,
        )  # fmt: skip
        if probe.returncode:
            fail(f"the installed detectron2 does not import: {probe.stderr.strip().splitlines()[-1]}")
        print(f"detectron2 {probe.stdout.strip()} is installed and used as it is")
        return
    if importlib.util.find_spec("torch") is None:
        fail("torch is not installed yet; run `pip install -r requirements.txt` first")
    with tempfile.TemporaryDirectory(prefix="detectron2-") as name:
        staging = Path(name) / "staging"
        staging.mkdir()
        fetch(Path(name)).rename(staging / "detectron2")
        (staging / "setup.py").write_text(SETUP)
        process = pip("install", "--quiet", "--no-deps", "--no-build-isolation", str(staging))
        if process.returncode:
            fail(f"pip could not install the mended archive: {last_line(process)}; {UPSTREAM}")
    print("detectron2 0.5 installed (Python parts; compiled operators are not needed)")


if __name__ == "__main__":
    main()
