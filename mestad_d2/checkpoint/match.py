"""Match a file's tensors to those of our model: by name, then by shape."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from mestad_d2.checkpoint.formats import recognise, vivit
from mestad_d2.checkpoint.formats.library_names import PIXELS, as_library, library_of
from mestad_d2.checkpoint.key_translation import BACKBONE, Named, canonical_name
from mestad_d2.checkpoint.prefix import find_prefixes
from mestad_d2.checkpoint.report import LoadReport
from mestad_d2.checkpoint.settings import differing, note

COUNTER = "num_batches_tracked"
# Layers that we add to a library's backbone: no file of that library has them.
ADDED = "pyramid."
OWN = "mestad_d2"
# Canonical names of the last layer of an action head.
HEAD = ("head.weight", "head.bias")
SLOW_INPUT = re.compile(
    r"(backbone\.)?slow\.res\d\.res_blocks\.0\.(block\.)?(branch1_conv|branch2\.conv_a)\.weight"
)


def is_own(state: Mapping[str, Tensor], model: Mapping[str, Tensor]) -> bool:
    """Return whether the keys are those of a model of this package (of any config)."""
    return any(key.startswith(BACKBONE) and (key in model or canonical_name(key)) for key in state)


def backbone_keys(model: Mapping[str, Tensor]) -> list[str]:
    """Return the backbone keys that a file must contain; all keys when the model is a bare backbone."""
    inside = [key for key in model if key.startswith(BACKBONE)]
    return [
        key
        for key in inside or model
        if not key.endswith(COUNTER) and not key.removeprefix(BACKBONE).startswith(ADDED)
    ]


def match(
    state: Mapping[str, Tensor],
    model: Mapping[str, Tensor],
    *,
    slow_into_slowfast: bool = False,
    settings: Mapping[str, Any] | None = None,
    config: str | None = None,
) -> tuple[dict[str, Tensor], LoadReport] | None:
    """Return the tensors to load under the model's keys and shapes, and the outcome of every other tensor.

    Args:
        state: a file's tensors, in any format that is known.
        model: our model's state dict.
        slow_into_slowfast: lateral channels that a slow-only file lacks become zeros, and the fast
            pathway and laterals count as new.
        settings: what ``model_settings`` reads of our model; a note where the file's are others.
        config: text of the config that the file holds beside its weights.

    Returns:
        None when no format is recognised.
    """
    state, filled = as_library(vivit.as_installed(state, model), model)
    own, file_format = is_own(state, model), recognise(state)
    ours = {name: key for key in model if (name := canonical_name(key))}
    counts = {key: tensor for key, tensor in state.items() if key.endswith(COUNTER)}
    state = {key: tensor for key, tensor in state.items() if key not in counts}
    named = None
    if own:
        report = LoadReport(OWN)
        pairs = {key: (key, tensor) for key, tensor in state.items()}
    elif file_format is not None and any(not name.startswith("head.") for name in ours):
        report = LoadReport(file_format.NAME)
        named = file_format.canonical(state)
        pairs = _by_canonical_name(named, ours, report)
    else:
        prefixes = find_prefixes(state, model)
        if prefixes is None:
            return None
        off, on = prefixes
        report = LoadReport(f"the library of the backbone (its keys under {on!r})")
        pairs = {on + key.removeprefix(off): (key, tensor) for key, tensor in state.items()}
        report.filled = {on + key.removeprefix(off): why for key, why in filled.items()}
        report.notes += _pixel_notes(model, settings or {})
    background = named is not None and getattr(file_format, "BACKGROUND_ROW", False)
    loading = _by_shape(pairs, model, slow_into_slowfast, background, report)
    if named is not None:
        detector = any(canonical_name(key) == "head.weight" for key in report.loaded)
        report.notes += _setting_notes(file_format, named, settings or {}, detector, config)
    if own and any(re.search(r"\blaterals\.\w+\.norm\.", key) for key in report.dropped):
        report.notes.append("the file's lateral connections have a norm: set MODEL.SLOWFAST.FUSION_NORM True")
    if any(re.search(r"blocks\.1\.res_blocks\.0\.branch1_norm\.", key) for key in report.dropped):
        report.notes.append(
            "the file's first shortcut has a norm, as PySlowFast's X3D: set MODEL.VIDEO_BACKBONE.SHORTCUT_NORM True"
        )
    if own:
        loading.update({key: tensor for key, tensor in counts.items() if key in model})
    _sort_out_the_rest(model, loading, slow_into_slowfast, report)
    return loading, report


def _by_canonical_name(
    named: Named, ours: Mapping[str, str], report: LoadReport
) -> dict[str, tuple[str, Tensor]]:
    """Our key -> (the file's key, tensor); tensors without a counterpart go to the report."""
    for key in named.unknown:
        report.dropped[key] = "no such tensor in a model of ours"
    pairs = {}
    for name, tensor in named.tensors.items():
        if name not in ours:
            if name not in named.filled:
                report.dropped[named.source[name]] = "no such tensor in this model"
            continue
        pairs[ours[name]] = (named.source.get(name, name), tensor)
        if name in named.filled:
            report.filled[ours[name]] = named.filled[name]
    return pairs


def _setting_notes(
    file_format: ModuleType, named: Named, settings: Mapping[str, Any], detector: bool, config: str | None
) -> list[str]:
    """Differences between the file's network and the model that no tensor shows, in one line, or none."""
    expected, preset = file_format.expected(named, detector, config)
    wanted = differing(expected, settings)
    return [note(file_format.NAME, wanted, settings, preset)] if wanted else []


def _pixel_notes(model: Mapping[str, Tensor], settings: Mapping[str, Any]) -> list[str]:
    """A note where the model takes other pixels than files of its backbone's library were trained on."""
    pixels = PIXELS.get(library_of(model))
    wanted = {} if pixels is None else differing({"PIXEL_MEAN": pixels[0], "PIXEL_STD": pixels[1]}, settings)
    return [note("the file", wanted, settings, None)] if wanted else []


def _by_shape(
    pairs: Mapping[str, tuple[str, Tensor]],
    model: Mapping[str, Tensor],
    slow_into_slowfast: bool,
    background: bool,
    report: LoadReport,
) -> dict[str, Tensor]:
    loading = {}
    for key, (source, tensor) in pairs.items():
        if key not in model:
            report.dropped[source] = "no such tensor in this model"
            continue
        want, have = tuple(model[key].shape), tuple(tensor.shape)
        if have != want and have == want[: len(have)] and tensor.numel() == model[key].numel():
            # Caffe2 leaves axes of size one off.
            tensor = tensor.reshape(want)
        elif background and _has_one_row_more(key, have, want):
            tensor = tensor[1:]
            report.adapted[key] = f"without row 0 of {have[0]}, the background that is never trained"
        elif have != want and slow_into_slowfast and _only_lateral_channels_lack(key, have, want):
            zeros = tensor.new_zeros((want[0], want[1] - have[1], *want[2:]))
            tensor = torch.cat([tensor, zeros], dim=1)
            report.adapted[key] = "zeros for the channels of the lateral connection"
        elif have != want:
            report.filled.pop(key, None)
            report.dropped[source] = f"shape {have} in the file, {want} in the model"
            continue
        loading[key] = tensor
        if key not in report.filled:
            report.loaded.append(key)
    return loading


def _has_one_row_more(key: str, have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    return canonical_name(key) in HEAD and have[0] == want[0] + 1 and have[1:] == want[1:]


def _only_lateral_channels_lack(key: str, have: tuple[int, ...], want: tuple[int, ...]) -> bool:
    # The slow pathway's own channels come first where laterals are concatenated.
    return (
        bool(SLOW_INPUT.fullmatch(key))
        and len(have) == 5
        and have[1] < want[1]
        and (have[0], *have[2:]) == (want[0], *want[2:])
    )


def _sort_out_the_rest(
    model: Mapping[str, Tensor], loading: Mapping[str, Tensor], slow_into_slowfast: bool, report: LoadReport
) -> None:
    backbone = set(backbone_keys(model))
    for key in model:
        if key in loading or key.endswith(COUNTER):
            continue
        optional = slow_into_slowfast and key.removeprefix(BACKBONE).startswith(("fast.", "laterals."))
        (report.missing if key in backbone and not optional else report.new).append(key)
