"""The rows of the paper's Tables 1 to 8, each with its config and the paper's figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from mestad_d2.errors import UserError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# What a row's changes are applied to; rows that train with pseudo labels take the file's ``_TLA`` sibling.
DATASETS = {
    "toy": "toy/SlowOnly_tiny.yaml",
    "ucf24": "ucf24/SlowOnly_tiny.yaml",
    "ava": "AVA-v2.2/SlowFast_R50_8x8.yaml",
}


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        name: as in the paper; config: file below ``configs/ablations``, without ending.
        paper_map: the paper's mAP on AVA v2.2 in percent, None where it has no such row.
        paper_gflops: its GFLOPs, where the table has them.
        needs_boxes: whether it runs on person boxes of files (``DATASETS.PERSON_BOXES_*``).
        burn_in: config of the table's row from the end of whose burn-in it goes on.
        trained_by: config of the table's row that is trained alike; this one only tests that one's model.
        against: config of the row it is compared with, if not the table's ``reference``.
    """

    name: str
    config: str
    paper_map: float | None
    paper_gflops: float | None = None
    needs_boxes: bool = False
    burn_in: str | None = None
    trained_by: str | None = None
    against: str | None = None


@dataclass(frozen=True)
class Table:
    """A table; ``cited`` is what the paper's takes from other papers, which is not run.

    ``reference`` is the config of the row that the others are compared with, seed by seed.
    """

    number: int
    title: str
    reference: str
    rows: tuple[Row, ...]
    cited: tuple[str, ...] = ()


TABLES = {
    table.number: table
    for table in (
        Table(
            1,
            "methods on AVA",
            "table1/mestad",
            (
                Row("VAT", "table1/vat", 25.2, needs_boxes=True),
                Row("I3D", "table1/i3d", 21.9),
                Row("Context-RCNN", "table1/context_rcnn", 28.0, needs_boxes=True),
                Row("LFB, R50-NL", "table1/lfb", 25.8, needs_boxes=True),
                Row("SlowFast R50", "table1/two_stage", 24.7, 504.0, needs_boxes=True),
                Row("WOO, R50 8x8", "table1/woo", 25.4, 147.5),
                Row("ME-STAD, R50 8x8", "table1/mestad", 25.5, 111.3),
                Row("ME-STAD + TLA, R50 8x8", "table1/mestad_tla", 26.9, 111.3, burn_in="table1/mestad"),
            ),
        ),
        Table(
            2,
            "heads for actor localisation",
            "table2/fcos",
            (
                Row("RPN+RCNN", "table2/rpn_rcnn", 21.0),
                Row("RetinaNet", "table2/retinanet", 19.7),
                Row("GFocalV2", "table2/gfocalv2", 23.7),
                Row("FCOS-", "table2/fcos_minus", 24.9),
                Row("WOO's head (Sparse R-CNN)", "table2/sparse_rcnn", 25.4),
                Row("FCOS", "table2/fcos", 25.5),
            ),
        ),
        Table(
            3,
            "boxes in training and in testing",
            "table3/dense_fcos",
            (
                Row("Proposal / Proposal", "table3/proposal_proposal", 24.7, needs_boxes=True),
                Row(
                    "GT only / Proposal",
                    "table3/gt_proposal",
                    24.5,
                    needs_boxes=True,
                    trained_by="table3/gt_fcos",
                ),
                Row("GT only / FCOS", "table3/gt_fcos", 23.7),
                Row("FCOS sparse / FCOS", "table3/sparse_fcos", 24.3),
                Row("FCOS dense / FCOS", "table3/dense_fcos", 25.5),
                Row(
                    "FCOS dense / Proposal",
                    "table3/dense_proposal",
                    26.2,
                    needs_boxes=True,
                    trained_by="table3/dense_fcos",
                ),
            ),
        ),
        Table(
            4,
            "loss weights",
            "table4/cls_10",
            (
                Row("lambda_cls 1", "table4/cls_1", 25.2),
                Row("lambda_cls 10", "table4/cls_10", 25.5),
                Row("lambda_cls 20", "table4/cls_20", 24.7),
                Row("TLA, lambda_unsup 0.2", "table4/unsup_0.2", 26.8, against="table4/unsup_0.5"),
                Row(
                    "TLA, lambda_unsup 0.5",
                    "table4/unsup_0.5",
                    26.9,
                    burn_in="table4/unsup_0.2",
                    against="table4/unsup_0.5",
                ),
                Row(
                    "TLA, lambda_unsup 1.0",
                    "table4/unsup_1.0",
                    26.5,
                    burn_in="table4/unsup_0.2",
                    against="table4/unsup_0.5",
                ),
            ),
        ),
        Table(
            5,
            "pseudo labels",
            "table5/none",
            (
                Row("None", "table5/none", 25.5),
                Row("EMA", "table5/ema", 26.0, burn_in="table5/none"),
                Row("Hard Threshold", "table5/hard", 26.0, burn_in="table5/none"),
                Row("Per Class Threshold", "table5/per_class", 26.2, burn_in="table5/none"),
                Row("TLA", "table5/tla", 26.9, burn_in="table5/none"),
            ),
        ),
        Table(
            6,
            "input resolution",
            "table6/256",
            (
                Row("SlowFast on proposals, 256", "table3/proposal_proposal", 24.7, 504.0, needs_boxes=True),
                Row("256", "table6/256", 25.5, 111.3),
                Row("320", "table6/320", 26.1, 173.8),
            ),
            cited=("WOO, 320: 25.4 mAP, 147.5 GFLOPs",),
        ),
        Table(
            7,
            "heads for action classification",
            "table7/linear",
            (
                Row("linear", "table7/linear", 25.5),
                Row("ACRN", "table7/acrn", 27.0),
                Row("linear, whole frame beside", "table7/context", None),
                Row("linear, max over time", "table7/temporal_max", None),
                Row("linear, focal", "table7/focal", None),
            ),
        ),
        Table(
            8,
            "sources of the feature pyramid",
            "table8/res3-4_p3-5",
            (
                Row("Res3-4 to P3-5", "table8/res3-4_p3-5", 25.5, 111.3),
                Row("Res3-5 to P3-5", "table8/res3-5_p3-5", 25.2, 113.4),
                Row("Res2-4 to P2-5", "table8/res2-4_p2-5", 26.0, 152.8),
            ),
        ),
    )
}


# What the heads with a second stage, made for large pyramids, become on the small datasets.
SMALL_HEADS = {
    "ActionTransformerROIHeads": {"ACTION_TRANSFORMER": {"DIM": 32, "LOCATION_DIM": 16}},
    "CropROIHeads": {"ACTOR_CROPS": {"SIZE": 64}},
    "FeatureBankROIHeads": {"FEATURE_BANK": {"DIM": 64}},
    "WOOROIHeads": {"WOO": {"DIM": 64, "DYNAMIC_DIM": 16}},
    "SparseRCNNProposals": {
        "SPARSE_RCNN": {"NUM_PROPOSALS": 20, "NUM_STAGES": 3, "FEEDFORWARD_DIM": 256, "DYNAMIC_DIM": 16}
    },
    "RPNRCNNProposals": {"ROI_BOX_HEAD": {"FC_DIM": 128}},
}
_PAPER_SIZE = 256


def row_config(row: Row, dataset: str, boxes: Path | None = None) -> dict:
    """Return the yaml of a row on a dataset: its changes, with the dataset's config as ``_BASE_``.

    On AVA that is the file itself. On the others the size of testing grows by the same factor as there, heads
    with a second stage are smaller, and a row on external boxes names those of the folder ``boxes``.

    Raises:
        UserError: the row's file is not there.
    """
    # Here, not above: the tables' names are asked for by programs that load no network.
    from mestad_d2.load_config import setup_cfg

    path = CONFIGS / "ablations" / f"{row.config}.yaml"
    if not path.is_file():
        raise UserError(f"{path}: there is no such config; row {row.name!r} needs it")
    if dataset == "ava":
        return {"_BASE_": str(path)}
    changes = yaml.safe_load(path.read_text())
    base = CONFIGS / DATASETS[dataset]
    if changes.pop("_BASE_").endswith("_TLA.yaml"):
        base = base.with_name(f"{base.stem}_TLA.yaml")
    changes.pop("OUTPUT_DIR", None)
    # The small datasets' optimiser and schedule, made for training from scratch, hold for all rows.
    changes.pop("SOLVER", None)
    model = changes.get("MODEL", {})
    if "NONLOCAL" in model:
        # The small backbones have one block a stage.
        model["NONLOCAL"]["LOCATIONS"] = [[], [0], [0], []]
    for part in ("PROPOSAL_GENERATOR", "ROI_HEADS"):
        small = SMALL_HEADS.get(model.get(part, {}).get("NAME"), {})
        model.update({name: model.get(name, {}) | values for name, values in small.items()})
    size = setup_cfg(path).INPUT.MIN_SIZE_TEST
    changes.pop("INPUT", None)
    if size != _PAPER_SIZE:
        changes["INPUT"] = {"MIN_SIZE_TEST": setup_cfg(base).INPUT.MIN_SIZE_TEST * size // _PAPER_SIZE}
    if row.needs_boxes and boxes is not None:
        changes["DATASETS"] = {
            "PERSON_BOXES_TRAIN": [str(boxes / "train.csv")],
            "PERSON_BOXES_TEST": [str(boxes / "val.csv")],
        }
    return {"_BASE_": str(base), **changes}
