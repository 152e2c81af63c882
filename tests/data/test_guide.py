"""The commands of docs/custom_dataset.md run as they stand there, on small videos of odd frame rates."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "custom_dataset.md").read_text()
VIDEOS = {"kitchen_01": Fraction(24000, 1001), "kitchen_02": Fraction(15), "kitchen_03": Fraction(50)}
# Enough to see that every command works; the guide's own length is for people.
SHORT = {
    "train_net": "SOLVER.MAX_ITER 3 DATALOADER.NUM_WORKERS 0",
    "visualize_data": "DATALOADER.NUM_WORKERS 0",
}


def write_video(path: Path, rate: Fraction, seconds: int = 12) -> None:
    """A bright figure that walks over a dark floor."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 200, 144, "yuv420p"
        for index in range(round(seconds * rate)):
            picture = np.full((144, 200, 3), 40, np.uint8)
            left = int(20 + 100 * index / float(seconds * rate))
            picture[40:120, left : left + 40] = (200, 180, 90)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The guide's folder, its files taken out of the guide itself."""
    root = tmp_path_factory.mktemp("guide")
    for name in ("tools", "configs", "mestad_d2"):
        (root / name).symlink_to(ROOT / name)
    dataset = root / "my_dataset"
    (dataset / "videos").mkdir(parents=True)
    for language, name, text in re.findall(r"```(text|yaml) (\S+)\n(.*?)```", GUIDE, flags=re.S):
        assert language
        (dataset / name).write_text(text)
    rows: dict[str, list[str]] = {"train": [], "val": []}
    for index, (name, rate) in enumerate(VIDEOS.items()):
        write_video(dataset / "videos" / f"{name}.mp4", rate)
        for time in np.arange(0.5, 12, 2.25):
            left = (20 + 100 * time / 12) / 200
            for action in {1 + index % 3, 3}:
                rows["val" if index == 2 else "train"].append(
                    f"{name},{time:.2f},{left:.4f},0.2778,{left + 0.2:.4f},0.8333,{action},0"
                )
    rows["train"].append("kitchen_01,11.9,,,,,,")
    for split, lines in rows.items():
        (dataset / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return root


def test_the_commands_of_the_guide(folder: Path) -> None:
    commands = [
        line for block in re.findall(r"```sh\n(.*?)```", GUIDE, flags=re.S) for line in block.splitlines()
    ]
    assert len(commands) == 5
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    for command in commands:
        words = shlex.split(command)
        assert words[0] == "python"
        extra = SHORT.get(Path(words[1]).stem, "").split()
        done = subprocess.run(
            [sys.executable, *words[1:], *extra], cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert (folder / "output" / "my_actions" / "model_final.pth").is_file()
    assert len(list((folder / "output" / "my_data").glob("*.png"))) == 16
    assert (folder / "output" / "my_demo" / "kitchen_01.mp4").is_file()
