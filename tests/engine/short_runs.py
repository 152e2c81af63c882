"""Training runs of a few iterations that can be cut short."""

from __future__ import annotations

from contextlib import suppress

from detectron2.config import CfgNode
from detectron2.utils.env import seed_all_rng

from mestad_d2.engine import build_trainer
from mestad_d2.engine.trainer import MESTADTrainer


def run(
    cfg: CfgNode, resume: bool = False, stop: int | None = None
) -> tuple[MESTADTrainer, list[dict[str, float]]]:
    """The trainer and its losses by name of each iteration; ``stop`` interrupts the run after so many."""
    seed_all_rng(7)
    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=resume)
    losses: list[dict[str, float]] = []
    run_step = trainer._trainer.run_step

    def recorded() -> None:
        run_step()
        latest = trainer.storage.latest()
        losses.append({k: v for k, (v, i) in latest.items() if i == trainer.iter and "loss" in k})
        if stop is not None and len(losses) == stop:
            raise KeyboardInterrupt

    trainer._trainer.run_step = recorded
    with suppress(KeyboardInterrupt):
        trainer.train()
    return trainer, losses
