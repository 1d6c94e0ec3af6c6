"""Texts to go on with: plain texts, prompts with completions, instructions with answers, and chats."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from whet import metrics
from whet.catalog import OPTIONS
from whet.core import Answer, Choice, Columns, Examples, Loaded, Quantisation, Rows, Scores
from whet.errors import RecipeError
from whet.next_token import NextToken
from whet.protocols import COMPLETE

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase

    from whet.data.chats import Form
    from whet.data.conversations import Conversations

FORMS = {
    "text": "the rows are texts, all of which is learned",
    "pairs": "each row has a prompt and its completion",
    "chats": "each row is a list of messages",
}


@dataclass(frozen=True, config=OPTIONS)
class CausalLm(NextToken):
    """Causal language modelling: a decoder learns to go on with texts, to follow instructions, or to chat.

    Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training"; learning from the answers alone
    after Ouyang et al. 2022, "Training language models to follow instructions" (arXiv 2203.02155).

    From tokens x (B, T) the model makes logits (B, T, V) for the next ones; the loss is the mean of -log p(x_t | x_<t)
    over the tokens that are learned: all of a plain text, only the answers elsewhere, each with its stop token. Choose
    it for text generation, instruction following, chatbots, and code.
    """

    form: Literal["text", "pairs", "chats"] | None = None
    """What a row holds: a text, a prompt with its completion, or a list of messages; seen in the rows if not named."""
    learn: Literal["answers", "last_answer", "everything"] = "answers"
    """What of a prompt or a chat is learned; of plain texts everything is."""
    template: str | None = None
    """How a chat becomes a text: 'plain', 'chatml', or a template in Jinja; the tokenizer's own if not named."""
    packing: bool | None = None
    """Whether short texts share a row, without seeing each other; plain texts do if not named, where the model can."""
    max_length: Annotated[int, Field(ge=8)] | None = None
    """Tokens of a row; a longer text goes on in the next row, and a longer chat loses its end. The model's own limit,
    at most 512, if not named."""
    new_tokens: Annotated[int, Field(ge=1)] = 64
    """Most tokens that the model writes for an answer."""
    samples: Annotated[int, Field(ge=0)] = 20
    """Test rows for which the finished model writes an answer, which is compared with the one of the row."""

    def find_columns(
        self, rows: Rows, *, text: Sequence[str] | None, label: Sequence[str] | None, group: str | None
    ) -> tuple[Columns, list[Choice]]:
        from whet.data import written_columns

        return written_columns.infer(rows, text=text, label=label, group=group)

    def usable(
        self, rows: Rows, columns: Columns, *, drop: bool = False, labelled: bool = True, way_out: str = COMPLETE
    ) -> tuple[Rows, int]:
        from whet.data import written_columns

        form = self._form(rows, columns)
        return written_columns.usable(rows, columns, form, drop=drop, labelled=labelled, way_out=way_out)

    def fit_to(self, rows: Rows, columns: Columns, *, to_split: bool) -> tuple[CausalLm, list[Choice]]:
        """The task with form and packing decided from what the rows hold."""
        form, choices = self._form(rows, columns), []
        idle = [name for name in ("template", "learn") if vars(self)[name] not in (None, "answers")]
        if form == "text" and idle:
            raise RecipeError(
                *(f"task.{name}: plain texts have no answers to tell apart; leave it out" for name in idle)
            )
        if self.form is None:
            choices.append(Choice("task.form", form, "inferred", FORMS[form]))
        if self.packing is None:
            why = "plain texts fill their rows" if form == "text" else "each example has a row of its own"
            choices.append(Choice("task.packing", form == "text", "inferred", why))
        packing = form == "text" if self.packing is None else self.packing
        return dataclasses.replace(self, form=form, packing=packing), choices

    def open_model(self, name: str | None, quantisation: Quantisation | None = None) -> Loaded:
        from whet.model.load import load

        return load(name, labels=None, targets=0, problem="next_token", kind="CausalLM", quantisation=quantisation)

    def open_saved(self, folder: Path) -> Loaded:
        from whet.model.saved import open_saved

        return open_saved(folder, targets=0, kind="CausalLM")

    def suited(self, model: nn.Module) -> tuple[CausalLm, list[Choice]]:
        """The task without packing where the model lets packed texts see each other."""
        from whet.model.packing import keeps_apart

        if not self.packing or keeps_apart(model):
            return self, []
        why = "in this model, or with this method, texts that share a row would see each other"
        return dataclasses.replace(self, packing=False), [Choice("task.packing", False, "inferred", why)]

    def encode(self, rows: Rows, columns: Columns, processor: PreTrainedTokenizerBase) -> Examples:
        return self._conversations(processor).examples(rows, columns)

    def write(self, model: nn.Module, processor: PreTrainedTokenizerBase, rows: Rows, columns: Columns) -> list[Answer]:
        from whet.model.writing import write

        asked = self._conversations(processor).prompts(rows, columns)
        texts = write(
            model, processor, asked.tokens, longest=asked.longest, new_tokens=self.new_tokens, stops=asked.stops
        )
        return [Answer(text, {}) for text in texts]

    def openings(self, rows: Rows, columns: Columns) -> Rows:
        from whet.data.written_columns import openings

        return openings(rows, columns, self.form or "text")

    def compare(self, answers: Sequence[Answer], rows: Rows, columns: Columns) -> Scores:
        from whet.data.written_columns import references

        return metrics.exact_match(
            [str(answer.label) for answer in answers], references(rows, columns, self.form or "text")
        )

    def _conversations(self, processor: PreTrainedTokenizerBase) -> Conversations:
        from whet.data.conversations import Conversations

        assert self.form is not None
        return Conversations(processor, self.form, self.learn, self.template, bool(self.packing), self.max_length)

    def _form(self, rows: Rows, columns: Columns) -> Form:
        from whet.data.chats import form_of

        return self.form or form_of(rows, columns)
