"""The dropout of a model, wherever it is kept."""

from collections.abc import Mapping

from torch import nn


def set_dropout(model: nn.Module, probability: float) -> int:
    """Give every dropout of a model this probability in [0, 1]; returns how many places had another one.

    Reaches dropout modules and probabilities that a module keeps as a number for a functional dropout. The dropping
    of whole layers (``layerdrop``) and of residual branches (``drop_path``) and the masking of spectrograms belong to
    the architecture and stay. The model's config stays as well: it tells how the model was pre-trained.
    """
    changed = 0
    for module in model.modules():
        for name in _dropout_fields(module):
            if vars(module)[name] != probability:
                vars(module)[name] = probability
                changed += 1
    return changed


def drops(model: nn.Module, modes: Mapping[str, bool]) -> bool:
    """Whether anything is dropped while the modules of a model are in these training modes."""
    active = (module for name, module in model.named_modules() if modes[name])
    return any(vars(module)[field] > 0 for module in active for field in _dropout_fields(module))


def _dropout_fields(module: nn.Module) -> list[str]:
    """Attributes of a module that hold a dropout probability."""
    if isinstance(module, nn.modules.dropout._DropoutNd):
        return ["p"]
    is_dropout = "Dropout" in type(module).__name__
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, (int, float))
        and not isinstance(value, bool)
        and ("dropout" in name or (is_dropout and name == "drop_prob"))
    ]
