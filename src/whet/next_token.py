"""What all tasks share in which a decoder learns the next token."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from whet import metrics
from whet.core import Batch, Examples, Problem, Scores

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedTokenizerBase


class NextToken:
    """From token numbers to losses and scores; what the tokens are is the task's own."""

    ahead: ClassVar[int] = 1
    """How far behind its input a token's target stands."""

    @property
    def problem(self) -> Problem:
        """The next token is to be told."""
        return "next_token"

    @property
    def metric(self) -> str:
        """The mean loss of a token."""
        return "loss"

    @property
    def metrics(self) -> Mapping[str, bool]:
        """What ``score`` returns, and the loss."""
        return {**metrics.NEXT_TOKEN, "loss": False}

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        """Rows padded on the right, with a target for each token."""
        from whet.data.next_tokens import collate

        return collate(examples, indices)

    def computing(self, model: nn.Module) -> AbstractContextManager[object]:
        """Logits of the vocabulary are computed where they are read, some tokens at a time."""
        from whet.model.late_head import without_logits

        return without_logits(model)

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Sum of the cross-entropies of the tokens that are learned."""
        from whet.model.late_head import learned

        return learned(outputs, batch, self.ahead).total

    def predict(self, outputs: Mapping[str, Tensor], batch: Batch) -> tuple[np.ndarray, float | None]:
        """(B, 3) loss, learned tokens, and tokens that were guessed right, summed over each row."""
        from whet.model.late_head import learned

        if batch.targets is None:
            return np.zeros((batch.rows, 3)), None
        found = learned(outputs, batch, self.ahead)
        return found.by_row(batch.rows), float(found.total)

    def score(self, predictions: np.ndarray, examples: Examples) -> Scores:
        """Perplexity and share of the tokens guessed right."""
        return metrics.next_token(predictions)

    def illustrate(self, examples: Examples, processor: PreTrainedTokenizerBase) -> list[tuple[str, bool]]:
        """The first example in pieces that are learned and pieces that are not."""
        from whet.data.next_tokens import illustrated

        return illustrated(examples, processor)
