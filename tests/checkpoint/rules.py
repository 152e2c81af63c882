"""The formats' published naming rules, written out once more: every tensor of a network under each name.

A tensor is (pathway, stage, block, layer, leaf): ("slow", 3, 1, "b", "weight"), stage 1 being the stem.
Layers: a, b, c (with norms bn_a ...), shortcut, bn_shortcut, stem, bn_stem, lateral, bn_lateral (stage: after
which stage), theta, phi, g, out, bn_out.
"""

from __future__ import annotations

from collections.abc import Iterator

BN = ("weight", "bias", "running_mean", "running_var")
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
Entry = tuple[str, int, int, str, str]


def entries(
    depth: int = 50, fast: bool = True, non_local: dict[int, list[int]] | None = None
) -> Iterator[Entry]:
    """All tensors of the backbone of a network of this depth, counters left out."""
    for path in ("slow", "fast") if fast else ("slow",):
        yield from with_norm(path, 1, 0, "stem")
        for stage, blocks in zip((2, 3, 4, 5), BLOCKS[depth], strict=True):
            for block in range(blocks):
                layers = ("a", "b", "c") if block else ("shortcut", "a", "b", "c")
                for layer in layers:
                    yield from with_norm(path, stage, block, layer)
                if path == "slow" and block in (non_local or {}).get(stage, ()):
                    for layer in ("theta", "phi", "g", "out"):
                        yield path, stage, block, layer, "weight"
                        yield path, stage, block, layer, "bias"
                    yield from ((path, stage, block, "bn_out", leaf) for leaf in BN)
    if fast:
        for stage, blocks in zip((1, 2, 3, 4), (1, *BLOCKS[depth]), strict=False):
            yield from with_norm("fast", stage, blocks - 1, "lateral")


def with_norm(path: str, stage: int, block: int, layer: str) -> Iterator[Entry]:
    yield path, stage, block, layer, "weight"
    yield from ((path, stage, block, "bn_" + layer, leaf) for leaf in BN)


def pytorchvideo(entry: Entry, *, fast: bool = True) -> str:
    """pytorchvideo's key of a classifier."""
    path, stage, block, layer, leaf = entry
    part, kind = layer.removeprefix("bn_"), "norm" if layer.startswith("bn_") else "conv"
    if part == "lateral":
        inner = "norm" if kind == "norm" else "conv_fast_to_slow"
        return f"blocks.{stage - 1}.multipathway_fusion.{inner}.{leaf}"
    pathway = f"multipathway_blocks.{('slow', 'fast').index(path)}." if fast else ""
    if part == "stem":
        return f"blocks.0.{pathway}{kind}.{leaf}"
    inner = f"branch1_{kind}" if part == "shortcut" else f"branch2.{kind}_{part}"
    return f"blocks.{stage - 1}.{pathway}res_blocks.{block}.{inner}.{leaf}"


def pyslowfast(entry: Entry) -> str:
    """PySlowFast's key."""
    path, stage, block, layer, leaf = entry
    part, is_bn = layer.removeprefix("bn_"), layer.startswith("bn_")
    number = ("slow", "fast").index(path)
    if part == "lateral":
        return f"s{stage}_fuse.{'bn' if is_bn else 'conv_f2s'}.{leaf}"
    if part == "stem":
        return f"s1.pathway{number}_stem.{'bn' if is_bn else 'conv'}.{leaf}"
    if part in ("theta", "phi", "g", "out"):
        return f"s{stage}.pathway{number}_nonlocal{block}.{'bn' if is_bn else 'conv_' + part}.{leaf}"
    inner = "branch1" if part == "shortcut" else f"branch2.{part}"
    return f"s{stage}.pathway{number}_res{block}.{inner}{'_bn' if is_bn else ''}.{leaf}"


def caffe2(entry: Entry) -> str:
    """The Caffe2 blob."""
    path, stage, block, layer, leaf = entry
    part, is_bn = layer.removeprefix("bn_"), layer.startswith("bn_")
    fast = "t_" if path == "fast" else ""
    if is_bn:
        tail = "_bn_" + {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}[leaf]
    else:
        tail = "_" + leaf[0]
    if part == "lateral":
        before = "t_pool1" if stage == 1 else f"t_res{stage}_{block}_branch2c_bn"
        return f"{before}_subsample{tail}"
    if part == "stem":
        return f"{fast}{'res_' if is_bn else ''}conv1{tail}"
    if part in ("theta", "phi", "g", "out"):
        return f"nonlocal_conv{stage}_{block}{'' if is_bn else '_' + part}{tail}"
    return f"{fast}res{stage}_{block}_branch{'1' if part == 'shortcut' else '2' + part}{tail}"


def mmaction(entry: Entry, *, fast: bool = True) -> str:
    """mmaction2's key."""
    path, stage, block, layer, leaf = entry
    part, inner = layer.removeprefix("bn_"), "bn" if layer.startswith("bn_") else "conv"
    root = f"backbone.{path}_path." if fast else "backbone."
    if part == "lateral":
        where = "conv1" if stage == 1 else f"layer{stage - 1}"
        return f"backbone.slow_path.{where}_lateral.{inner}.{leaf}"
    if part == "stem":
        return f"{root}conv1.{inner}.{leaf}"
    if part in ("theta", "phi", "g", "out"):
        name = {"out": "conv_out", "g": "g.0", "phi": "phi.0"}.get(part, part)
        return f"{root}layer{stage - 1}.{block}.non_local_block.{name}.{inner}.{leaf}"
    name = "downsample" if part == "shortcut" else f"conv{'abc'.index(part) + 1}"
    return f"{root}layer{stage - 1}.{block}.{name}.{inner}.{leaf}"


def ours(entry: Entry, non_local: dict[int, list[int]] | None = None) -> str:
    """Our key; blocks with a non-local block after them hold it beside ``block``."""
    path, stage, block, layer, leaf = entry
    part, kind = layer.removeprefix("bn_"), "norm" if layer.startswith("bn_") else "conv"
    if part == "lateral":
        where = "stem" if stage == 1 else f"res{stage}"
        return f"backbone.laterals.{where}.{'norm' if kind == 'norm' else 'conv_fast_to_slow'}.{leaf}"
    if part == "stem":
        return f"backbone.{path}.stem.{kind}.{leaf}"
    inside = path == "slow" and block in (non_local or {}).get(stage, ())
    root = f"backbone.{path}.res{stage}.res_blocks.{block}."
    if part in ("theta", "phi", "g", "out"):
        return f"{root}non_local.{'norm' if kind == 'norm' else 'conv_' + part}.{leaf}"
    inner = f"branch1_{kind}" if part == "shortcut" else f"branch2.{kind}_{part}"
    return f"{root}{'block.' if inside else ''}{inner}.{leaf}"
