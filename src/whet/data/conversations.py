"""From rows to what a language model learns, and to what it is asked: templates, tokens, packing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from whet.core import Columns, Examples, Rows
from whet.data import chats, next_tokens
from whet.data.chats import TEMPLATES, Form, MisfitError, Rendered
from whet.data.problems import at, first_few
from whet.data.tokens import limit
from whet.errors import DataError, ModelError, RecipeError


@dataclass(frozen=True)
class Prompts:
    """What a model is asked."""

    tokens: list[list[int]]
    longest: int
    """Tokens that the model may read and write."""
    stops: list[int]
    """Tokens that end an answer."""


@dataclass(frozen=True)
class Conversations:
    """How the rows of a data set become texts for a model."""

    processor: PreTrainedTokenizerBase
    form: Form
    learn: Literal["answers", "last_answer", "everything"]
    template: str | None
    packing: bool
    max_length: int | None

    def __post_init__(self) -> None:
        if not self.processor.is_fast:
            raise ModelError(
                "the tokenizer of this model cannot say which characters a token stands for, so answers cannot be told "
                "from prompts; it needs a tokenizer.json"
            )
        if self.processor.eos_token_id is None:
            raise ModelError("the tokenizer of this model has no end token, so no answer could end; add 'eos_token'")
        # What is saved with the model asks it as it was trained.
        if self.template is not None:
            self.processor.chat_template = TEMPLATES.get(self.template, self.template)

    def examples(self, rows: Rows, columns: Columns) -> Examples:
        """What is learned; raises DataError naming rows that the template refuses."""
        specials = self._template() is None
        texts = self._rendered(rows, lambda row: self._render(rows, columns, row))
        longest = limit(self.processor, self.max_length)
        found = next_tokens.tokenised(texts, self.processor, specials=specials)
        if self.form == "text":
            pieces = next_tokens.divided(found, longest, to_fill=self.packing)
        else:
            pieces = next_tokens.cut(found, longest)
        together = next_tokens.packed(pieces, longest) if self.packing else [[piece] for piece in pieces]
        return next_tokens.examples(together, int(self.processor.pad_token_id or 0), positions=self.packing)

    def prompts(self, rows: Rows, columns: Columns) -> Prompts:
        """What the model is asked for each row; raises DataError naming rows that the template refuses."""
        template = self._template()
        texts = self._rendered(rows, lambda row: Rendered(self._asked(rows, columns, row), ()))
        found = next_tokens.tokenised(texts, self.processor, specials=template is None)
        stops = {self.processor.eos_token_id}
        if template is not None:
            stops |= self._ends_of_answers(template)
        tokens = [piece.tokens.tolist() for piece in found]
        return Prompts(tokens, limit(self.processor, self.max_length), sorted(stops))

    def _render(self, rows: Rows, columns: Columns, row: int) -> Rendered:
        if self.form == "text":
            text = str(rows.columns[columns.text[0]][row])
            return Rendered(text, ((0, len(text)),))
        template = self._template()
        if template is None:
            completion = str(rows.columns[columns.label[0]][row])
            rendered = chats.render_pair(chats.prompt_of(rows, columns, row), completion)
        else:
            messages = chats.chat_of(rows, columns, row, self.form, answered=True)
            rendered = chats.render_chat(messages, self.processor, template, last_only=self.learn == "last_answer")
        return Rendered(rendered.text, ((0, len(rendered.text)),)) if self.learn == "everything" else rendered

    def _asked(self, rows: Rows, columns: Columns, row: int) -> str:
        if self.form == "text":
            return str(rows.columns[columns.text[0]][row])
        template = self._template()
        if template is None:
            return chats.opened(chats.prompt_of(rows, columns, row))
        messages = chats.chat_of(rows, columns, row, self.form, answered=False)
        return chats.applied(messages, self.processor, template, asking=True)

    def _template(self) -> str | None:
        """The template that holds, None where texts are learned as they are; raises RecipeError for a chat."""
        found = self.processor.chat_template
        if isinstance(found, str) and self.form != "text":
            return found
        if self.form == "chats":
            raise RecipeError(
                "task.template: the rows are chats, and the tokenizer of this model has no chat template; set "
                f"task.template to {' or '.join(map(repr, TEMPLATES))}, or to one in Jinja"
            )
        return None

    def _rendered(self, rows: Rows, render: Callable[[int], Rendered]) -> list[Rendered]:
        texts, problems = [], []
        for row in range(len(rows)):
            try:
                texts.append(render(row))
            except MisfitError as error:
                problems.append((row, str(error)))
        if problems:
            raise DataError(*_told(rows, problems))
        return texts

    def _ends_of_answers(self, template: str) -> set[int]:
        """The special tokens with which the template ends an answer."""
        asked = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        try:
            rendered = chats.render_chat(asked, self.processor, template, last_only=True)
        except MisfitError:
            return set()
        ((start, end),) = rendered.learned
        tokens = self.processor(rendered.text[start:end], add_special_tokens=False)["input_ids"]
        return {token for token in tokens if token in self.processor.all_special_ids}


def _told(rows: Rows, problems: Sequence[tuple[int, str]]) -> list[str]:
    """One line for each kind of problem, with the places of the rows that have it."""
    kinds: dict[str, list[int]] = {}
    for row, problem in problems:
        kinds.setdefault(problem, []).append(rows.places[row])
    lines = [f"{rows.source}: {at(rows.source, places)}: {problem}" for problem, places in kinds.items()]
    return lines if len(lines) <= 5 else [*lines[:5], f"and {first_few([len(lines) - 5])} more kinds of problems"]
