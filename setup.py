"""Packaging of mestad_d2; detectron2 itself is put in place by scripts/install_detectron2.py."""

from setuptools import find_packages, setup

setup(
    name="mestad_d2",
    version="0.1.0",
    description="End-to-end spatio-temporal action detection (ME-STAD) for Detectron2",
    license="Apache-2.0",
    python_requires=">=3.9",
    packages=find_packages(include=["mestad_d2", "mestad_d2.*"]),
    install_requires=[
        "torch>=2.0",
        "torchvision>=0.15",
        "numpy>=1.24",
        "scipy>=1.10",
        "av>=12",
        "opencv-python-headless>=4.8",
        "pytorchvideo>=0.1.5",
        "fvcore>=0.1.5",
        "pycocotools>=2.0.6",
        "matplotlib>=3.6",
        "tabulate>=0.9",
        "tqdm>=4.60",
    ],
    extras_require={
        "test": ["hypothesis", "pytest", "pytest-timeout", "pytest-xdist", "ruff"],
        "vivit": ["transformers>=4.40"],
        "export": ["onnx", "onnxruntime"],
    },
)
