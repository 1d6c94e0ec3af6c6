"""Peft learns of whet's own kinds whoever imports it first."""

import subprocess
import sys

import pytest

FIRST = (
    "peft",
    "whet.model.adapters",
    "whet.model.bottleneck",
    "whet.model.load",
    "whet.model.prefixes",
    "whet.model.prompts",
)
KNOWN = "WHET_BOTTLENECK WHET_PREFIX WHET_PROMPT"


@pytest.mark.slow
@pytest.mark.parametrize("module", FIRST)
def test_every_kind_is_known_whichever_module_imports_peft_first(module: str) -> None:
    lines = (
        "import importlib, whet",
        f"importlib.import_module('{module}')",
        "from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING as known",
        "print(*sorted(name for name in map(str.upper, known) if name.startswith('WHET_')))",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, KNOWN), done.stderr
