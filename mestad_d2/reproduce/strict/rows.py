"""The rows of the strict comparison, and the order in which they are run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from mestad_d2.errors import UserError

# Seeds of the main rows, of the ceilings and restarts, and of the curves before those.
ALL, SOME, FEW = 8, 4, 2


@dataclass(frozen=True)
class Row:
    """Training after the burn-in checkpoint.

    Attributes:
        key: short name; name: in the table.
        labeler: ``SEMISUP.PSEUDO_LABELER``. "EMA" trains on labelled clips alone: its student is the row "None",
            its teacher the row "EMA" of the same batch.
        batch: labelled clips, as a multiple of the usual batch.
        length: iterations, as a multiple of the usual ones.
        after: row whose final teacher, frozen, makes the labels instead of this run's own average.
        restart: a new cosine from the full learning rate, instead of the second half of one over both phases.
        cost: forward passes of an iteration per labelled clip of the usual batch, the teacher's included.
    """

    key: str
    name: str
    labeler: str = "EMA"
    batch: int = 1
    length: float = 1.0
    restart: bool = False
    after: str = ""

    @property
    def cost(self) -> float:
        """Clips that pass through a network in training, as a multiple of those of the row "none"."""
        return self.length * (self.batch + PASSES.get(self.labeler, 2))


# Passes of unlabelled clips: the student's alone, or the teacher's too.
PASSES = {
    "EMA": 0, "NearestKeyFrame": 1, "InterpolatedUnion": 1, "InterpolatedIntersection": 1, "OracleBoth": 1,
}  # fmt: skip

ROWS = {
    row.key: row
    for row in (
        Row("none", "None / EMA"),
        Row("none_x2", "None / EMA, twice the labelled clips", batch=2),
        Row("none_passes", "None / EMA, as many forward passes", length=3.0),
        Row("none_x2_passes", "None / EMA, twice the clips, as many forward passes", batch=2, length=1.5),
        Row("tla", "TLA (Algorithm 1)", "TLA"),
        Row("actor", "ActorTLA", "ActorTLA"),
        Row("soft", "SoftTLA", "SoftTLA"),
        Row("agreement", "AgreementTLA", "AgreementTLA"),
        Row("track", "TrackTLA", "TrackTLA"),
        Row("dense", "DenseTLA", "DenseTLA"),
        Row("round2", "second round: labels of DenseTLA's final teacher", "DenseTLA", after="dense"),
        Row("nearest", "nearest key frame, no teacher", "NearestKeyFrame"),
        Row("union", "interpolated boxes, union of labels", "InterpolatedUnion"),
        Row("intersection", "interpolated boxes, labels of both", "InterpolatedIntersection"),
        Row("oracle_labels", "oracle: teacher's boxes, true labels", "OracleLabels"),
        Row("oracle_boxes", "oracle: true boxes, TLA's labels", "OracleBoxes"),
        Row("oracle_both", "oracle: true boxes and labels", "OracleBoth"),
        Row("none_restart", "None / EMA, restarted", restart=True),
        Row("none_x2_restart", "None / EMA, twice the clips, restarted", batch=2, restart=True),
        Row("tla_restart", "TLA, restarted", "TLA", restart=True),
        Row("actor_restart", "ActorTLA, restarted", "ActorTLA", restart=True),
        Row("soft_restart", "SoftTLA, restarted", "SoftTLA", restart=True),
        Row("agreement_restart", "AgreementTLA, restarted", "AgreementTLA", restart=True),
        Row("dense_restart", "DenseTLA, restarted", "DenseTLA", restart=True),
        Row("track_restart", "TrackTLA, restarted", "TrackTLA", restart=True),
    )
}
# Labelers chosen on the third split of videos; docs/tla.md has the figures.
BEST = ("dense", "agreement")


@dataclass(frozen=True)
class Task:
    """One run: a row, or with ``row`` None the burn-in, of a condition with a seed."""

    condition: str
    seed: int
    row: str | None = None


def order(best: Sequence[str], seeds: int, curves: Sequence[str]) -> Iterator[Task]:
    """Order all runs, the most informative first; of each group all rows of a seed before the next seed.

    Args:
        best: keys of the two labelers chosen on the third split of videos.
        seeds: of the toy's main rows.
        curves: conditions of the curves.
    """
    main = ["none", "none_x2", "tla", *best, "none_passes", "oracle_both"]
    ceilings = ["oracle_labels", "nearest", "union", "intersection", "oracle_boxes", "none_x2_passes"]
    curve = ["none", "none_x2", "tla", best[0]]
    restarts = [f"{key}_restart" for key in ("none", "none_x2", "tla", best[0])]
    some, few = min(SOME, seeds), min(FEW, seeds)
    groups: list[tuple[Sequence[str], Sequence[str], range]] = [
        (["toy"], main, range(1, seeds + 1)),
        (curves, curve, range(1, 2)),
        (["toy"], ceilings, range(1, some + 1)),
        (["toy"], ["round2"] if "dense" in best else [], range(1, seeds + 1)),
        (curves, curve, range(2, few + 1)),
        (["toy"], restarts, range(1, some + 1)),
        (curves, curve, range(few + 1, some + 1)),
        (["toy"], ceilings, range(some + 1, seeds + 1)),
    ]
    for conditions, rows, numbers in groups:
        for seed in numbers:
            for condition in conditions:
                for row in rows:
                    yield Task(condition, seed, row)


def chosen_tasks(groups: Sequence[str], conditions: Collection[str]) -> Iterator[Task]:
    """Order runs that a user names, group by group; of each all conditions and rows of a seed before the next seed.

    Args:
        groups: CONDITIONS:ROWS:SEEDS each, with commas between names, seeds as "1-4" or "3".
        conditions: names that exist.

    Raises:
        UserError: another form, or an unknown name.
    """
    given: set[Task] = set()
    for group in groups:
        parts = group.split(":")
        seeds = re.fullmatch(r"(\d+)(?:-(\d+))?", parts[-1])
        if len(parts) != 3 or not seeds:
            raise UserError(
                f"--groups: {group!r} is not CONDITIONS:ROWS:SEEDS, as in toy_2s,toy_4s:none_x2,tla:1-4"
            )
        names, rows = parts[0].split(","), parts[1].split(",")
        for found, known, what in ((names, conditions, "condition"), (rows, ROWS, "row")):
            if unknown := sorted(set(found) - set(known)):
                raise UserError(f"--groups: no {what} {', '.join(unknown)}; choose among {', '.join(known)}")
        first, last = int(seeds[1]), int(seeds[2] or seeds[1])
        for seed in range(first, last + 1):
            for task in (Task(condition, seed, row) for condition in names for row in rows):
                if task not in given:
                    given.add(task)
                    yield task
