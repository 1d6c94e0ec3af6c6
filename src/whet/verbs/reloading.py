"""The saved model, opened again and compared with the trained one."""

import numpy as np

from whet.build import Prepared, predictor
from whet.core import Kept
from whet.engine.device import let_go
from whet.engine.predict import flat, predict
from whet.errors import RunError
from whet.run.folder import RunFolder

RELOADED = 32
"""Rows on which the saved model is compared with the one in memory."""
DIFFERENT = 0.1
"""Share of the rows whose texts rounding may change, where tokens are compared."""
SAME = 1e-4
"""Largest difference of two probabilities that is rounding, not damage."""


def check_reload(prepared: Prepared, folder: RunFolder, trained: Kept, side: str) -> None:
    """Raise RunError where the saved model does not say what the trained one has said about the rows of a side."""
    rows, lengths = prepared.splits[side], prepared.examples[side].lengths
    saved = predictor(prepared.values, folder.model)
    count, same = RELOADED, 0
    while not same:
        few = rows.take(range(min(count, len(rows))))
        examples = saved.task.encode(few, prepared.columns, saved.processor)
        # Texts that share a row may end earlier where there are fewer of them.
        same = int(np.cumprod(examples.lengths == lengths[: len(examples)]).sum())
        if not same and len(few) == len(rows):
            raise RunError(f"{folder.model}: the saved tokenizer reads the rows otherwise than the trained one")
        count *= 2
    values = flat(predict(saved.model, saved.task, examples, saved.device).values, same)
    let_go(saved.model)
    expected = flat(trained, same)
    if values.dtype.kind == "i":
        # Tokens, of which rounding turns one into another where two are as probable.
        differs = (values != expected).reshape(same, -1).any(axis=1)
        difference = max(0.0, float(differs.mean()) - DIFFERENT)
        expected = np.zeros(0)
    else:
        difference = float(np.abs(values - expected).max(initial=0.0))
    if not difference <= SAME * max(1.0, float(np.abs(expected).max(initial=0.0))):
        raise RunError(
            f"{folder.model}: the saved model answers differently from the trained one by {difference:.2g}; "
            f"the checkpoints are kept in {folder.checkpoints}. Please report this with the recipe"
        )
