"""Parts of a model that are not trained (``SOLVER.FREEZE``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from mestad_d2.config_values import near
from mestad_d2.errors import UserError


def freeze_parts(model: nn.Module, names: Sequence[str]) -> None:
    """Freeze parts of a model, in place: no gradients, batch norm and dropout as in evaluation.

    Parameters without gradients are left out of the optimiser and so of weight decay too, and a teacher shares
    them with its student.

    Args:
        model: without a distributed wrapper.
        names: of modules or parameters, such as ``backbone`` or ``roi_heads.predictor``.

    Raises:
        UserError: the model has no such part, or nothing is left to train.
    """
    if not names:
        return
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters())
    for name in names:
        if name in parameters:
            parameters[name].requires_grad_(False)
        elif name and name in modules:
            modules[name].requires_grad_(False)
        else:
            known = [part for part in modules if part and part.count(".") < 2]
            parts = ", ".join(part for part, _ in model.named_children())
            raise UserError(
                f"SOLVER.FREEZE: the model has no part {name!r}{near(str(name), known)}; its parts are {parts}, "
                "and what is in them, by dots"
            )
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise UserError(f"SOLVER.FREEZE: {list(names)} is the whole model; leave out what is to be trained")
    model.register_forward_pre_hook(_EvaluationMode([name for name in names if name in modules]))


class _EvaluationMode:
    """Hook that puts the layers of some modules into evaluation mode before each forward in training.

    Layers only: a module with parts may compute losses in training mode alone. A copy of the model has the hook too.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)

    def __call__(self, model: nn.Module, inputs: Any) -> None:
        if not model.training:
            return
        for name in self.names:
            for layer in model.get_submodule(name).modules():
                if next(layer.children(), None) is None:
                    layer.eval()
