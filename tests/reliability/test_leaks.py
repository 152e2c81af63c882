"""Long jobs keep their memory, files and shared memory: training steps, and a film read to its end."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import pytest
from detectron2.modeling import build_model
from detectron2.utils.events import EventStorage
from numbered_video import write_numbered_video
from reliability.leaks import Usage, watch
from reliability.runs import BOTH_PHASES
from tiny import tiny_cfg

from mestad_d2.engine import build_trainer, trainer_class
from mestad_d2.video import frames as video
from mestad_d2.video.frames import read_frames
from mestad_d2.video.source import open_source
from mestad_d2.video.stream import iterate_frames

# Share of the long forms, which train 2,000 steps and read 30 minutes; `make stress` gives 1.
SHARE = float(os.environ.get("MESTAD_LONG", "0"))
STEPS, MINUTES = max(round(2000 * SHARE), 60), max(round(30 * SHARE), 1)
# Short runs are mostly warm-up.
LONG = SHARE >= 0.5


def flat(usage: Usage, kb_a_step: float, what: str) -> None:
    """Fail with all figures where something grows; print them, for the table."""
    print(f"leak {what}: {usage.slope:+.2f} KB a step, {usage}")
    assert usage.slope <= kb_a_step, usage
    assert usage.files[1] <= usage.files[0] + 2 and usage.shared[1] <= usage.shared[0], usage


def test_training_is_flat(tmp_path: Path, on_toy: None) -> None:
    sizes = ["INPUT.CROP.SIZE", "[32, 48]", "INPUT.MIN_SIZE_TRAIN", "(32,)", "SOLVER.IMS_PER_BATCH", 1]
    opts = [
        *BOTH_PHASES,
        "SEMISUP.BURN_IN_ITERS",
        1,
        "INPUT.CLIP.NUM_FRAMES",
        2,
        "INPUT.CLIP.SAMPLING_RATE",
        8,
    ]
    trainer = build_trainer(tiny_cfg(*opts, *sizes, "OUTPUT_DIR", tmp_path, "SOLVER.MAX_ITER", STEPS))
    with EventStorage(0) as trainer.storage:

        def step() -> None:
            trainer.run_step()
            trainer.iter += 1
            trainer.storage.step()

        usage = watch(step, STEPS, STEPS // 4)
    # The history of scalars that is kept for the curves is some KB a step at most.
    flat(usage, 12.0 if LONG else 200.0, "training")


@pytest.mark.slow
def test_evaluations_with_loader_processes_are_flat(tmp_path: Path, on_toy: None) -> None:
    workers = ["DATASETS.TEST", "('toy_val',)", "DATALOADER.NUM_WORKERS", 1, "OUTPUT_DIR", tmp_path]
    cfg = tiny_cfg(*workers, "MODEL.PROPOSALS.SCORE_THRESH_TEST", 0.99)
    model = build_model(cfg).eval()
    flat(watch(lambda: trainer_class(cfg).test(cfg, model), 200, 50), 5.0, "evaluations")


def test_a_film_read_to_its_end_is_flat(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    frames = MINUTES * 60 * 5
    write_numbered_video(path, frames, Fraction(5), codec="libx264", g="25")
    clips = iter(range(10**9))

    def clip() -> None:
        centre = next(clips) % (frames // 5)
        read_frames(str(path), [centre - 0.2, centre, centre + 0.2])

    flat(watch(clip, frames // 5, frames // 20), 2.0 if LONG else 100.0, "clips of a film")
    stream = iterate_frames(path)
    flat(watch(lambda: next(stream), frames, frames // 4), 1.0 if LONG else 50.0, "frames of a film")
    assert sum(1 for _ in stream) == 0
    video._OPEN.drop(open_source(path))
