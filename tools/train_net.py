#!/usr/bin/env python
"""Train and evaluate: tools/train_net.py --config-file configs/toy/SlowOnly_tiny.yaml [KEY VALUE ...].

Several processes: --num-gpus N (CPU processes where there is no GPU), with --num-machines, --machine-rank
and --dist-url for several machines, or torchrun (docs/scaling.md). Exit codes: 0 done, 2 a mistake in the
input, 75 stopped by SIGTERM or Ctrl-C and saved: go on with --resume (docs/reliability.md).
"""

# ruff: noqa: E402  (signals are listened to and arguments read before the libraries are imported, which takes seconds)
from __future__ import annotations

from mestad_d2.process_setup import leave_on_signals

if __name__ in ("__main__", "__mp_main__"):
    leave_on_signals()

from argparse import REMAINDER, ArgumentParser, Namespace, RawDescriptionHelpFormatter

from mestad_d2.errors import one_line_errors
from mestad_d2.inference.arguments import add_import_argument


def parse(arguments: list[str] | None = None) -> Namespace:
    """Parse the command line: the arguments of detectron2's own training tool, and ours."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--config-file", default="", metavar="FILE", help="yaml, such as those in configs/")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the newest checkpoint of OUTPUT_DIR"
    )
    parser.add_argument("--eval-only", action="store_true", help="evaluate MODEL.WEIGHTS, don't train")
    parser.add_argument(
        "--num-gpus", type=int, default=1, help="GPUs of each machine; without any, processes (%(default)s)"
    )
    parser.add_argument("--num-machines", type=int, default=1, help="machines in all (%(default)s)")
    parser.add_argument("--machine-rank", type=int, default=0, help="number of this machine, from 0")
    # detectron2's default is one port per user, so a second run on the machine would fail.
    parser.add_argument(
        "--dist-url", default="auto", help="address where processes meet; needed on several machines"
    )
    parser.add_argument(
        "--accept-changes",
        action="store_true",
        help="with --resume: go on although the model, optimiser, seed or training data changed",
    )
    add_import_argument(parser)
    parser.add_argument("opts", nargs=REMAINDER, default=None, help="config options KEY VALUE ...")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    ARGUMENTS = parse()

from detectron2.engine import default_setup
from detectron2.utils import comm
from detectron2.utils.logger import setup_logger

from mestad_d2.checkpoint import MESTADCheckpointer
from mestad_d2.engine import build_trainer, trainer_class
from mestad_d2.engine.launch import start
from mestad_d2.engine.run_folder import hold
from mestad_d2.engine.run_info import settle_seed, write_run_info
from mestad_d2.engine.trainer import verify_results
from mestad_d2.load_config import import_extensions, make_deterministic, setup_cfg
from mestad_d2.process_setup import keep_freed_memory


@one_line_errors()
def main(args: Namespace) -> dict:
    """Run one process; returns the evaluation results."""
    import_extensions(args.imports)
    cfg = setup_cfg(args.config_file, args.opts)
    keep_freed_memory(cfg.MODEL.DEVICE)
    if not args.eval_only:
        hold(cfg.OUTPUT_DIR)
    settle_seed(cfg, args.resume)
    default_setup(cfg, args)
    make_deterministic(cfg)
    setup_logger(cfg.OUTPUT_DIR, distributed_rank=comm.get_rank(), name="mestad_d2")
    if args.eval_only:
        trainer = trainer_class(cfg)
        # Files that can't be evaluated are reported first.
        trainer.open_test_sets(cfg)
        model = trainer.build_model(cfg)
        checkpointer = MESTADCheckpointer(model, cfg.OUTPUT_DIR, cfg=cfg)
        if args.resume and checkpointer.has_checkpoint():
            checkpointer.resume_or_load(cfg.MODEL.WEIGHTS)
        else:
            checkpointer.load_trained(cfg.MODEL.WEIGHTS)
        results = trainer.test(cfg, model)
        verify_results(cfg, results)
        return results
    trainer = build_trainer(cfg)
    trainer.resume_or_load(resume=args.resume, accept_changes=args.accept_changes)
    write_run_info(trainer.cfg, args.config_file, args.resume)
    return trainer.train() or {}


if __name__ == "__main__":
    with one_line_errors():
        start(main, ARGUMENTS)
