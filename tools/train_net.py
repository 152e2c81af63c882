#!/usr/bin/env python
"""Train and evaluate: tools/train_net.py --config-file configs/toy/SlowOnly_tiny.yaml [KEY VALUE ...]."""

from __future__ import annotations

from argparse import Namespace

from detectron2.engine import default_argument_parser, default_setup, launch
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.engine import build_trainer, trainer_class
from mestad_d2.engine.setup import setup_cfg
from mestad_d2.errors import one_line_errors


@one_line_errors()
def main(args: Namespace) -> dict:
    """Run one process; returns the evaluation results."""
    cfg = setup_cfg(args.config_file, args.opts)
    default_setup(cfg, args)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="mestad_d2")
    if args.eval_only:
        trainer = trainer_class(cfg)
        model = trainer.build_model(cfg)
        MESTADCheckpointer(model, cfg.OUTPUT_DIR, cfg=cfg).resume_or_load(
            cfg.MODEL.WEIGHTS, resume=args.resume
        )
        return trainer.test(cfg, model)
    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=args.resume)
    return trainer.train() or {}


if __name__ == "__main__":
    args = default_argument_parser().parse_args()
    launch(
        main,
        args.num_gpus,
        num_machines=args.num_machines,
        machine_rank=args.machine_rank,
        dist_url=args.dist_url,
        args=(args,),
    )
    comm.synchronize()
