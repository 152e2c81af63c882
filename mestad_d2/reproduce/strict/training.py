"""One run of the strict comparison: burn-in, or a row that goes on from it, trained and evaluated in this process."""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml
from detectron2.config import CfgNode
from detectron2.engine import hooks
from detectron2.engine.train_loop import TrainerBase
from detectron2.utils.env import seed_all_rng

from mestad_d2.checkpoint.read import read_checkpoint
from mestad_d2.checkpoint.write import save_whole
from mestad_d2.data.sampling import start_at
from mestad_d2.engine.mean_teacher.trainer import TLATrainer
from mestad_d2.engine.trainer import MESTADTrainer
from mestad_d2.load_config import setup_cfg
from mestad_d2.reproduce.strict import oracles  # noqa: F401  (registers)
from mestad_d2.reproduce.strict.data import CONDITIONS, Condition, entries
from mestad_d2.reproduce.strict.rows import ROWS, Task
from mestad_d2.reproduce.tables import CONFIGS
from mestad_d2.semisup.ema import ModelEMA


@dataclass(frozen=True)
class Plan:
    """What all runs share.

    Attributes:
        root: folder of the data; work: of checkpoints; ucf: of ucf24_mini.
        burn_in, iterations: of the toy's runs; the real clips' have ``real_share`` of them.
        opts: config options for all runs.
    """

    root: Path
    work: Path
    ucf: Path | None
    burn_in: int
    iterations: int
    real_share: float = 0.5
    opts: tuple[str, ...] = ()

    def length(self, condition: Condition) -> tuple[int, int]:
        """Return the iterations of burn-in and of a row of length 1."""
        share = self.real_share if condition.real else 1.0
        return max(round(self.burn_in * share), 1), max(round(self.iterations * share), 1)


class _Trainer(TLATrainer):
    """Without checkpoints, logs and evaluations on the way."""

    def __init__(self, cfg: CfgNode) -> None:
        super().__init__(cfg)
        self._hooks = [hook for hook in self._hooks if isinstance(hook, hooks.LRScheduler)]

    def build_writers(self) -> list:
        return []

    def run(self, start: int, stop: int) -> dict[str, float]:
        """Train iterations ``start`` to ``stop`` of ``SOLVER.MAX_ITER``; return the seconds and the CPU time it took."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.scheduler.last_epoch = start - 1
            self.scheduler.step()
        began, cpu = time.perf_counter(), time.process_time()
        TrainerBase.train(self, start, stop)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return {
            "train_seconds": round(time.perf_counter() - began, 2),
            "train_cpu_seconds": round(time.process_time() - cpu, 2),
        }


def run_cfg(plan: Plan, task: Task) -> CfgNode:
    """Return the config of a run; its schedule is that of ``run_task``."""
    condition = CONDITIONS[task.condition]
    data = entries(condition, plan.root, plan.ucf)
    folder = plan.work / task.condition / f"seed{task.seed}" / (task.row or "burn_in")
    burn_in, iterations = plan.length(condition)
    row = ROWS[task.row] if task.row else ROWS["none"]
    changes: dict[str, Any] = {
        "_BASE_": str(CONFIGS / condition.config),
        "DATASETS": {
            "CUSTOM": list(data.values()),
            "TRAIN": [data["train"]["NAME"]],
            "TEST": [data[split]["NAME"] for split in condition.splits],
        },
        "INPUT": {"CLIP": {"DECODED_DIR": str(plan.root / "decoded"), "CACHE_MB": 0}},
        "SEMISUP": {"ENABLED": True, "PSEUDO_LABELER": row.labeler},
        "SEED": task.seed,
        "OUTPUT_DIR": str(folder),
    }
    if condition.gap > 1:
        changes["SEMISUP"]["MAX_GAP"] = 1.5 * condition.gap
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.yaml").write_text(yaml.safe_dump(changes, sort_keys=False))
    cfg = setup_cfg(folder / "run.yaml", plan.opts, freeze=False)
    cfg.SOLVER.IMS_PER_BATCH *= row.batch
    # Pseudo labels come for the usual number of clips, whatever the labelled batch.
    cfg.SEMISUP.UNLABELED_RATIO = 1.0 / row.batch
    length = round(iterations * row.length)
    if task.row is None:
        cfg.SOLVER.MAX_ITER, cfg.SEMISUP.BURN_IN_ITERS = burn_in + iterations, burn_in + iterations
    elif row.restart:
        cfg.SOLVER.MAX_ITER, cfg.SEMISUP.BURN_IN_ITERS = length, 0
        cfg.SOLVER.WARMUP_ITERS = min(cfg.SOLVER.WARMUP_ITERS, length // 10)
    else:
        # The same part of the cosine, drawn out over the row's own length.
        before = round(length * burn_in / iterations)
        cfg.SOLVER.MAX_ITER, cfg.SEMISUP.BURN_IN_ITERS = before + length, before
    return cfg


def task_key(plan: Plan, task: Task) -> str:
    """Return a key that changes with everything that changes the run's result."""
    facts = [task.condition, task.seed, task.row, plan.burn_in, plan.iterations, plan.real_share, plan.opts]
    if task.condition != "toy":
        facts.append(asdict(CONDITIONS[task.condition]))
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def burn_in_file(plan: Plan, task: Task) -> Path:
    """Return the path of the burn-in checkpoint of a task's condition and seed."""
    return (
        plan.work / f"{task.condition}_seed{task.seed}_{task_key(plan, Task(task.condition, task.seed))}.pth"
    )


def teacher_file(plan: Plan, task: Task) -> Path:
    """Return the path of a row's final teacher, if another row uses it."""
    return plan.work / f"{task.condition}_seed{task.seed}_{task_key(plan, task)}_teacher.pth"


class FixedTeacher(ModelEMA):
    """A teacher that another run left; it does not follow the student."""

    def __init__(self, student: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
        super().__init__(student)
        self.model.load_state_dict(state)

    def copy_from(self, student: torch.nn.Module) -> None:
        """Do nothing."""

    def update(self, student: torch.nn.Module) -> None:
        """Do nothing."""


def run_task(plan: Plan, task: Task) -> dict:
    """Train a burn-in or a row, evaluate it, and return what it found."""
    began, cpu = time.perf_counter(), time.process_time()
    cfg = run_cfg(plan, task)
    seed_all_rng(task.seed)
    burn_in, _ = plan.length(CONDITIONS[task.condition])
    trainer = _Trainer(cfg)
    result: dict[str, Any] = {"condition": task.condition, "seed": task.seed, "row": task.row}
    result["key"] = task_key(plan, task)
    if task.row is None:
        spent = trainer.run(0, burn_in)
        state = {"model": trainer.bare_model.state_dict(), "optimizer": trainer.optimizer.state_dict()}
        save_whole(state, burn_in_file(plan, task))
        result |= evaluate(cfg, trainer.bare_model, "burn_in")
    else:
        row = ROWS[task.row]
        start = cfg.SEMISUP.BURN_IN_ITERS
        burnt_in = burn_in_file(plan, task)
        # Rows are compared only with rows that go on from the same weights.
        result["checkpoint"] = hashlib.sha256(burnt_in.read_bytes()).hexdigest()[:12]
        state = read_checkpoint(str(burnt_in))
        trainer.bare_model.load_state_dict(state["model"])
        if not row.restart:
            trainer.optimizer.load_state_dict(state["optimizer"])
        # Labelled clips go on where the burn-in stopped, whatever the batch.
        start_at(trainer.data_loader, -(-burn_in // row.batch))
        if row.after:
            state = read_checkpoint(str(teacher_file(plan, replace(task, row=row.after))))
            trainer._trainer.ema = FixedTeacher(trainer.bare_model, state["model"])
        counts = [count_clips(model) for model in (trainer.bare_model, trainer._trainer.ema.model)]
        spent = trainer.run(start, cfg.SOLVER.MAX_ITER)
        result["student_clips"], result["teacher_clips"] = (count[0] for count in counts)
        if task.row in {other.after for other in ROWS.values()}:
            save_whole({"model": trainer.teacher.state_dict()}, teacher_file(plan, task))
        result |= evaluate(cfg, trainer.teacher, "teacher") | evaluate(cfg, trainer.bare_model, "student")
        for name, history in trainer.storage.histories().items():
            if name.startswith("pseudo/"):
                result[name] = round(float(history.global_avg()), 4)
    result["iterations"] = cfg.SOLVER.MAX_ITER - cfg.SEMISUP.BURN_IN_ITERS if task.row else burn_in
    result |= spent
    result["seconds"] = round(time.perf_counter() - began, 2)
    result["cpu_seconds"] = round(time.process_time() - cpu, 2)
    result["device"] = torch.cuda.get_device_name() if cfg.MODEL.DEVICE == "cuda" else "cpu"
    return result


def count_clips(model: torch.nn.Module) -> list[int]:
    """Return a list of one number that counts the clips passing through the network's backbone."""
    count = [0]

    def add(module: torch.nn.Module, inputs: tuple) -> None:
        count[0] += len(inputs[0])

    model.backbone.register_forward_pre_hook(add)
    return count


def evaluate(cfg: CfgNode, model: torch.nn.Module, name: str) -> dict[str, float]:
    """Evaluate frame-mAP and person AP50 in percent on every split: ``NAME_SPLIT_map``, ``NAME_SPLIT_person``."""
    model.eval()
    found = {}
    for dataset in cfg.DATASETS.TEST:
        part = cfg.clone()
        part.DATASETS.TEST = (dataset,)
        part.OUTPUT_DIR = str(Path(cfg.OUTPUT_DIR) / name)
        results = MESTADTrainer.test(part, model)
        split = dataset.rsplit("_", 1)[1]
        found[f"{name}_{split}_map"] = round(results["frame_map"]["mAP"], 3)
        found[f"{name}_{split}_person"] = round(results["person"]["AP50"], 3)
    return found
