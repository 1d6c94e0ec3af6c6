"""What the advice goes by, for several recipes, a probe included; prints a line of JSON for each.

python bench/facts.py RECIPES.json
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from whet.verbs.advise import run


def main() -> None:
    told: dict[str, dict[str, Any]] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for name, recipe in told.items():
        advised = run(recipe, None, [], budget=None, probed=True)
        print(json.dumps({"name": name, "facts": asdict(advised.facts)}), flush=True)


if __name__ == "__main__":
    main()
