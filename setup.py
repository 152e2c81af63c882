"""Packaging of mestad_d2; detectron2 itself is put in place by scripts/install_detectron2.py."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithConfigs(build_py):
    """Puts configs/ inside the package, where ``mestad_d2.model_zoo`` looks for it when installed."""

    def run(self):
        """Copy the modules, then the configs; an editable install reads those of the checkout."""
        super().run()
        if not getattr(self, "editable_mode", False):
            inside = Path(self.build_lib) / "mestad_d2" / "model_zoo" / "configs"
            shutil.rmtree(inside, ignore_errors=True)
            shutil.copytree(Path(__file__).resolve().parent / "configs", inside)


setup(
    name="mestad_d2",
    version="0.1.0",
    description="End-to-end spatio-temporal action detection (ME-STAD) for Detectron2",
    license="Apache-2.0",
    python_requires=">=3.10",
    cmdclass={"build_py": BuildWithConfigs},
    packages=find_packages(include=["mestad_d2", "mestad_d2.*"]),
    install_requires=[
        "torch>=2.4",
        "torchvision>=0.19",
        "numpy>=1.24",
        "scipy>=1.10",
        "av>=14.1",
        "opencv-python-headless>=4.8",
        "pytorchvideo>=0.1.5",
        "fvcore>=0.1.5",
        "pycocotools>=2.0.6",
        "matplotlib>=3.6",
        "tabulate>=0.9",
        "tqdm>=4.60",
    ],
    extras_require={
        "test": ["datumaro", "hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "ruff", "playwright"],
        "app": ["gradio>=6.0"],
        "ray": ["ray>=2.9"],
        "export": ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.1"],
        "vivit": ["transformers>=4.40", "safetensors>=0.4"],
    },
)
