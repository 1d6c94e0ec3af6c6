"""The parts of a model from its config alone: no weight is fetched or read."""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModel

from whet.core import Parts
from whet.model.locate import locate, opening
from whet.model.parts import parts_of


def shapes_of(name: str | None) -> tuple[str, Parts]:
    """What to call a model, and the parts of its body; None is the embedded one. Raises ModelError."""
    called, folder, _ = locate(name, None, weights=False)
    with opening(called):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        with torch.device("meta"):
            body = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    return called, parts_of(body)
