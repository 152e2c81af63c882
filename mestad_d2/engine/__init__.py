"""Training: which trainer a config asks for."""

from detectron2.config import CfgNode

from mestad_d2.engine.trainer import MESTADTrainer


def trainer_class(cfg: CfgNode) -> type[MESTADTrainer]:
    """Return the supervised trainer class, or the mean-teacher one where ``SEMISUP.ENABLED``."""
    if cfg.SEMISUP.ENABLED:
        from mestad_d2.engine.mean_teacher.trainer import TLATrainer

        return TLATrainer
    return MESTADTrainer


def build_trainer(cfg: CfgNode) -> MESTADTrainer:
    """Build the trainer that a config asks for."""
    return trainer_class(cfg)(cfg)
