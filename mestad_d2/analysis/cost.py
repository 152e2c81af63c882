"""Count multiply-adds and parameters of a model's four parts (paper, Fig. 3 and Tables 1, 6, 8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.modeling import poolers
from detectron2.structures import Boxes, ImageList, Instances
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from mestad_d2.errors import UserError
from mestad_d2.formats.files import atomic_path
from mestad_d2.modeling.build import build_detector

# Faster R-CNN X101-32x8d-FPN, the person detector of two-stage methods (paper, Table 1 and section 4.2).
PAPER_PERSON_DETECTOR_GFLOPS = 406.5


def _per_element(operations: int) -> Callable[..., int]:
    """Count for each element of an operation's input (torch's counter doubles multiply-adds: so do these)."""
    return lambda shape, *args, out_shape=None, **kwargs: 2 * operations * prod(shape)


def _per_output(*args: object, out_shape: torch.Size, **kwargs: object) -> int:
    return 2 * prod(out_shape)


_PERSON_PARTS = (("FPN", "fpn"), ("FCOS head", "fcos_head"), ("key-frame path", "keyframe_path"))

# Beside products and attention, which torch's counter knows: norms and resizing, with fvcore's weights, in which the
# literature counts. A norm in evaluation mode is one multiply-add of two operations an element; layer and group norm five.
_OTHERS = {
    torch.ops.aten.native_batch_norm: _per_element(2),
    torch.ops.aten._native_batch_norm_legit_no_training: _per_element(2),
    torch.ops.aten.native_layer_norm: _per_element(5),
    torch.ops.aten.native_group_norm: _per_element(5),
    torch.ops.aten.upsample_nearest2d: _per_output,
}


def _gflops(module: Callable[..., object], *inputs: object) -> float:
    """Multiply-adds of one call, in units of 1e9."""
    counter = FlopCounterMode(display=False, custom_mapping=_OTHERS)
    with counter:
        module(*inputs)
    return counter.get_total_flops() / 2e9


@torch.no_grad()
def model_cost(model: nn.Module, num_frames: int, size: int | tuple[int, int], actors: int = 10) -> dict:
    """Compute the cost of one clip of ``num_frames`` frames; one multiply-add counts as 1.

    Args:
        model: the meta architecture, on any device; on "meta" nothing is computed.
        num_frames: frames of a clip.
        size: side of a square frame in pixels, or height and width.
        actors: boxes that the action head classifies (paper: at most 10); all learned proposals where they are.

    Returns:
        ``total_gflops``, ``by_part`` {backbone, keyframe_path (where there is one), fpn, fcos_head, action_head},
        ``params_millions`` and the same by part.

    Raises:
        UserError: the proposal generator has no dense head to count.
    """
    model.eval()
    height, width = (size, size) if isinstance(size, int) else size
    clip = torch.zeros(1, 3, num_frames, height, width, device=model.device)
    features = model.backbone(clip)
    cost, modules = {"backbone": _gflops(model.backbone, clip)}, {"backbone": model.backbone}
    if model.proposal_generator is not None:
        generator = model.proposal_generator
        levels = model.pyramid(clip, features)
        maps = [levels[name] for name in generator.in_features]
        if hasattr(generator, "head"):
            person_head = _gflops(generator.head, maps)
        elif hasattr(generator, "refine"):
            sizes = torch.tensor([[width, height, width, height]], device=model.device)
            person_head, actors = _gflops(generator.refine, maps, sizes), len(generator.boxes)
        else:
            raise UserError("MODEL.PROPOSAL_GENERATOR.NAME: only heads that run on the pyramid are counted")
        pyramid = _gflops(model.pyramid, clip, features)
        if model.keyframe_path is not None:
            cost["keyframe_path"] = _gflops(model.keyframe_path, clip[:, :, num_frames // 2])
            modules["keyframe_path"] = model.keyframe_path
        cost |= {"fpn": pyramid - cost.get("keyframe_path", 0.0), "fcos_head": person_head}
        modules |= {"fpn": model.fpn, "fcos_head": generator}
    heads = model.roi_heads
    people = Instances((height, width))
    boxes = torch.tensor([[0.0, 0.0, width / 2, height]], device=model.device).repeat(actors, 1)
    people.proposal_boxes = Boxes(boxes)
    people.proposal_index = torch.arange(actors, device=model.device)
    cost["action_head"] = _gflops(heads.logits, ImageList(clip, [(height, width)]), features, [people])
    modules["action_head"] = heads
    params = {name: sum(p.numel() for p in part.parameters()) / 1e6 for name, part in modules.items()}
    return {
        "total_gflops": round(sum(cost.values()), 3),
        "by_part": {name: round(value, 3) for name, value in cost.items()},
        "params_millions": round(sum(params.values()), 3),
        "params_by_part": {name: round(value, 3) for name, value in params.items()},
        "input": [num_frames, height, width],
    }


@contextmanager
def _pooling_by_shape() -> Iterator[None]:
    """Let detectron2 pool on "meta": its main branch asks there for the value of the number of boxes."""
    convert = poolers.convert_boxes_to_pooler_format
    poolers.convert_boxes_to_pooler_format = _numbered_boxes
    try:
        yield
    finally:
        poolers.convert_boxes_to_pooler_format = convert


def _numbered_boxes(boxes: list[Boxes]) -> Tensor:
    """Return boxes (R, 5) with the index of their clip in front, as ``convert_boxes_to_pooler_format`` does."""
    return torch.cat([functional.pad(b.tensor, (1, 0), value=index) for index, b in enumerate(boxes)])


def cost_of_config(cfg: CfgNode, size: int | tuple[int, int]) -> dict:
    """Compute ``model_cost`` for the model of a config, from tensor shapes alone."""
    cfg = cfg.clone()
    cfg.defrost()
    cfg.MODEL.DEVICE = "meta"
    with torch.device("meta"), _pooling_by_shape():
        # torch's counter fails under no_grad on views of parameters that could have gradients.
        return model_cost(build_detector(cfg).requires_grad_(False), cfg.INPUT.CLIP.NUM_FRAMES, size)


def chart_slices(cost: dict) -> dict[str, dict[str, float]]:
    """Return the slices of the two pies of the paper's Fig. 3, in GFLOPs, of a result of ``model_cost``.

    The two-stage detector has the same backbone and action head, and the paper's person detector instead of
    FPN and FCOS head.
    """
    part = cost["by_part"]
    action_network = {"backbone": part["backbone"], "action head": part["action_head"]}
    detector = {name: part[key] for name, key in _PERSON_PARTS if key in part}
    return {
        "ours": action_network | detector,
        "two-stage": action_network | {"person detector (the paper's figure)": PAPER_PERSON_DETECTOR_GFLOPS},
    }


def draw_cost(cost: dict, path: str | Path, name: str) -> None:
    """Draw ours beside the two-stage detector, like the paper's Fig. 3; areas are to scale.

    Args:
        cost: a result of ``model_cost``.
        path: picture to write; the ending gives its format.
        name: what the model is called in the title.
    """
    from matplotlib.figure import Figure

    pies = chart_slices(cost)
    largest = max(sum(slices.values()) for slices in pies.values())
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12)
    colors = ["#3b7dd8", "#1f9d6b", "#d9a72b", "#d9572b", "#8a4fd0"]
    for axes, (title, slices) in zip(figure.subplots(1, 2), pies.items(), strict=True):
        total = sum(slices.values())
        shades = [*colors[: len(slices)]] if title == "ours" else [*colors[:2], "#98a2b3"]
        # Slices of under a percent have no room for a label of their own; the list below names them all.
        wedges, _ = axes.pie(
            list(slices.values()), colors=shades, radius=(total / largest) ** 0.5, startangle=90
        )
        rows = [f"{part}: {value:.1f} G, {value / total:.0%}" for part, value in slices.items()]
        axes.legend(wedges, rows, loc="upper center", bbox_to_anchor=(0.5, 0.0), fontsize=9, frameon=False)
        axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1))
        axes.set_title(
            f"{name if title == 'ours' else 'two-stage detector'}: {total:.1f} GFLOPs", fontsize=11
        )
    with atomic_path(path, keep_suffix=True) as aside:
        figure.savefig(aside, dpi=120)
