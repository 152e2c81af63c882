"""Packaging of mestad_d2: the package, its configs, and detectron2 0.5 for environments without one."""

import os
import runpy
import shutil
import tempfile
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWholePackage(build_py):
    """Adds what is not a Python module of the package; an editable install reads the checkout instead."""

    def run(self):
        """Copy the modules, then the configs and detectron2."""
        super().run()
        if getattr(self, "editable_mode", False):
            return
        package = Path(self.build_lib) / "mestad_d2"
        configs = package / "model_zoo" / "configs"
        shutil.rmtree(configs, ignore_errors=True)
        shutil.copytree(ROOT / "configs", configs)
        if not os.environ.get("MESTAD_WITHOUT_DETECTRON2"):
            self.add_detectron2(package / "bundled")

    def add_detectron2(self, folder):
        """Put detectron2 0.5 where Python looks last: an installed detectron2 is found before it."""
        fetch = runpy.run_path(str(ROOT / "scripts" / "install_detectron2.py"))["fetch"]
        shutil.rmtree(folder, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix="detectron2-") as download:
            shutil.copytree(fetch(Path(download)), folder / "detectron2")
        (Path(self.build_lib) / "mestad_d2_bundled.pth").write_text("mestad_d2/bundled\n")


setup(
    name="mestad_d2",
    version="0.1.0",
    description="End-to-end spatio-temporal action detection (ME-STAD) for Detectron2",
    license="Apache-2.0",
    python_requires=">=3.11",
    cmdclass={"build_py": BuildWholePackage},
    packages=find_packages(include=["mestad_d2", "mestad_d2.*"]),
    package_data={"mestad_d2": ["data/tube_datasets/label_maps/*.txt"]},
    install_requires=[
        "torch>=2.10",
        "torchvision>=0.25",
        "numpy>=1.24",
        "scipy>=1.10",
        "av>=17",
        "opencv-python-headless>=4.8.1.78",
        "pytorchvideo>=0.1.5",
        "fvcore>=0.1.5",
        "iopath>=0.1.9",
        "pycocotools>=2.0.6",
        "matplotlib>=3.6",
        "Jinja2>=3.1",
        "Pillow>=12.3",
        "PyYAML>=6.0",
        "tabulate>=0.9",
        "tqdm>=4.60",
        # what detectron2 0.5 imports
        "cloudpickle",
        "future",
        "hydra-core>=1.1",
        "omegaconf>=2.1",
        "pydot",
        "setuptools<81",
        "tensorboard",
        "termcolor>=1.1",
        "yacs>=0.1.8",
    ],
    extras_require={
        "test": ["datumaro", "hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "ruff", "playwright"],
        "app": ["gradio>=6.16"],
        "ray": ["ray>=2.55"],
        "export": ["onnx>=1.21", "onnxruntime>=1.18", "onnxscript>=0.1"],
        "openvino": ["openvino>=2025.0", "nncf>=2.17"],
        "persons": ["transformers>=5.5", "safetensors>=0.4"],
        "vivit": ["transformers>=5.5", "safetensors>=0.4"],
    },
)
