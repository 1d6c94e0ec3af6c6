"""Tells peft which kinds of adapters whet adds to it, as soon as peft is imported by whomever.

So ``PeftModel.from_pretrained`` opens such an adapter after ``import whet``, which itself loads neither peft nor torch.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

HOMES = ("whet.model.bottleneck", "whet.model.prefixes", "whet.model.prompts")
"""Modules that add a kind, each when it is imported: its own import of peft may be the first one, and then comes back
to it before it has got further than that."""


def announce() -> None:
    """Add all kinds, now or when peft is imported."""
    if "peft" in sys.modules:
        _add_all()
    elif not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())


def add_kind(name: str, config: type, tuner: type, prefix: str) -> None:
    """Add one kind to peft: its config, the class that inserts it, and how its modules' names begin."""
    from peft.utils import register_peft_method  # noqa: PLC0415
    from peft.utils.peft_types import PeftType  # noqa: PLC0415

    if name in PeftType.__members__:
        return
    # An enum that has members cannot be extended by inheritance.
    member = str.__new__(PeftType, name)
    member._name_, member._value_ = name, name
    setattr(PeftType, name, member)
    PeftType._member_names_.append(name)
    PeftType._member_map_[name] = member
    PeftType._value2member_map_[name] = member
    register_peft_method(name=name.lower(), config_cls=config, model_cls=tuner, prefix=prefix)


def _add_all() -> None:
    for home in HOMES:
        importlib.import_module(home)


class _Watch(MetaPathFinder):
    """Waits for the import of peft, and lets it happen."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname != "peft":
            return None
        sys.meta_path.remove(self)
        spec = find_spec("peft")
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_tell(module: ModuleType) -> None:
            execute(module)
            _add_all()

        spec.loader.exec_module = execute_and_tell  # type: ignore[method-assign]
        return spec
