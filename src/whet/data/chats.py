"""Rows of texts, of prompts and completions, and of chats as one text each, in which the part to learn is marked.

A chat becomes a text by a template: the tokenizer's own, one that whet knows by name, or one in Jinja that the recipe
gives. What a model learns of it are the answers, each with the sign that ends it. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from whet.core import Columns, Rows

Form: TypeAlias = Literal["text", "pairs", "chats"]
"""What rows hold: texts, prompts with their completions, or lists of messages."""

Message: TypeAlias = dict[str, Any]
"""``role`` and ``content``, and whatever else a template knows."""

TEMPLATES: Mapping[str, str] = {
    "plain": (
        "{% for message in messages %}### {{ message.role | capitalize }}:\n{{ message.content }}"
        "{% if message.role == 'assistant' %}{{ eos_token }}{% endif %}\n\n{% endfor %}"
        "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
    ),
    "chatml": (
        "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
}
"""Templates by name: one for every model, and one for models that know its signs."""

_ROLES = {
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(("gpt", "model", "bot", "chatbot", "function_call"), "assistant"),
    **dict.fromkeys(("observation", "function", "function_response"), "tool"),
}
"""Other names of roles to those that templates know."""


@dataclass(frozen=True)
class Rendered:
    """A row as one text."""

    text: str
    learned: tuple[tuple[int, int], ...]
    """Begin and end of each part that is learned, in characters."""


class MisfitError(Exception):
    """A row that a template cannot render; says why."""


def form_of(rows: Rows, columns: Columns) -> Form:
    """What the columns hold."""
    if columns.label:
        return "pairs"
    return "chats" if any(isinstance(value, list) for value in rows.columns[columns.text[0]]) else "text"


def messages_of(value: object) -> list[Message]:
    """A cell as messages, with the names of roles that templates know; raises MisfitError where it holds none."""
    if not isinstance(value, list) or not value:
        raise MisfitError("is no list of messages")
    messages = []
    for one in value:
        if not isinstance(one, Mapping):
            raise MisfitError("holds what is no message")
        role, content = one.get("role", one.get("from")), one.get("content", one.get("value"))
        if not isinstance(role, str) or not isinstance(content, str | None):
            raise MisfitError("holds a message without a role or a content that is text")
        rest = {key: told for key, told in one.items() if key not in ("role", "from", "content", "value")}
        messages.append({"role": _ROLES.get(role, role), "content": content or "", **rest})
    return messages


def prompt_of(rows: Rows, columns: Columns, row: int) -> str:
    """The texts that come before a completion, with an empty line between them; an empty one counts for nothing."""
    texts = [str(rows.columns[name][row] or "").strip("\n") for name in columns.text]
    return "\n\n".join(text for text in texts if text)


def chat_of(rows: Rows, columns: Columns, row: int, form: Form, *, answered: bool) -> list[Message]:
    """A row as messages; without the last answer unless ``answered``."""
    if form == "chats":
        value = rows.columns[columns.text[0]][row]
        # Who only has a question asks it as the user.
        messages = [{"role": "user", "content": value}] if isinstance(value, str) else messages_of(value)
        while not answered and messages and messages[-1]["role"] == "assistant":
            messages.pop()
        return messages
    asked: list[Message] = [{"role": "user", "content": prompt_of(rows, columns, row)}]
    if answered:
        asked.append({"role": "assistant", "content": str(rows.columns[columns.label[0]][row])})
    return asked


def render_chat(
    messages: Sequence[Message], processor: PreTrainedTokenizerBase, template: str, *, last_only: bool
) -> Rendered:
    """A chat as one text, in which the answers are learned, or the last one only; raises MisfitError."""
    text = applied(messages, processor, template)
    spoken = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    learned = []
    for i in spoken[-1:] if last_only else spoken:
        before = applied(messages[:i], processor, template, asking=True)
        through = _common(text, applied(messages[: i + 1], processor, template)).rstrip()
        if not text.startswith(before) or len(through) <= len(before):
            raise MisfitError(
                f"answer {spoken.index(i) + 1} cannot be found in the rendered chat, because the template writes it "
                "otherwise once more messages follow; set task.learn=last_answer"
            )
        learned.append((len(before), len(through)))
    # What stands behind the last answer, the model would read for nothing.
    return Rendered(text[: learned[-1][1]] if learned else text, tuple(learned))


def _common(one: str, other: str) -> str:
    """What both texts begin with."""
    length = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def render_pair(prompt: str, completion: str) -> Rendered:
    """A prompt and its completion as they are, with a line's end between them where neither has a space there."""
    text = opened(prompt) if not completion[:1].isspace() else prompt
    return Rendered(text + completion, ((len(text), len(text) + len(completion)),))


def opened(prompt: str) -> str:
    """A prompt that a completion can follow."""
    return prompt if prompt[-1:].isspace() else f"{prompt}\n"


def applied(
    messages: Sequence[Message], processor: PreTrainedTokenizerBase, template: str, *, asking: bool = False
) -> str:
    """Messages by a template, with the beginning of an answer where one is asked for; raises MisfitError."""
    if not messages:
        return ""
    try:
        text = processor.apply_chat_template(
            list(messages), chat_template=template, tokenize=False, add_generation_prompt=asking
        )
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        raise MisfitError(f"the chat template refuses it: {str(error).splitlines()[0]}") from error
    return str(text)
