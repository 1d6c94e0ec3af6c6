"""Chats as texts: what is learned of them, character by character."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from whet.core import Columns, Rows
from whet.data.chats import TEMPLATES, MisfitError, Rendered, chat_of, form_of, messages_of, render_chat, render_pair

CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi, you."},
    {"role": "user", "content": "And now?"},
    {"role": "assistant", "content": "Bye."},
]


@pytest.fixture(scope="module")
def processor(tiny_decoder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_decoder)
    return tokenizer


def learned(rendered: Rendered) -> list[str]:
    return [rendered.text[start:end] for start, end in rendered.learned]


@pytest.mark.parametrize(
    ("template", "answers"),
    [("plain", ["Hi, you.</s>", "Bye.</s>"]), ("chatml", ["Hi, you.<|im_end|>", "Bye.<|im_end|>"])],
)
def test_answers_are_learned_with_the_sign_that_ends_them(
    template: str, answers: list[str], processor: PreTrainedTokenizerBase
) -> None:
    rendered = render_chat(CHAT, processor, TEMPLATES[template], last_only=False)
    assert learned(rendered) == answers
    assert learned(render_chat(CHAT, processor, TEMPLATES[template], last_only=True)) == answers[-1:]
    for message in CHAT:
        assert message["content"] in rendered.text
    assert rendered.text.endswith(answers[-1])


FORGETFUL = (
    "{% for message in messages %}{% if loop.last or message.role == 'user' %}"
    "[{{ message.role }}] {{ message.content }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


def test_a_template_that_rewrites_earlier_answers_is_refused_with_the_way_out(
    processor: PreTrainedTokenizerBase,
) -> None:
    with pytest.raises(MisfitError, match=r"answer 1 cannot be found.*task.learn=last_answer"):
        render_chat(CHAT, processor, FORGETFUL, last_only=False)
    assert learned(render_chat(CHAT, processor, FORGETFUL, last_only=True)) == ["Bye."]


def test_a_template_that_refuses_a_chat_is_told_in_its_own_words(processor: PreTrainedTokenizerBase) -> None:
    with pytest.raises(MisfitError, match="the chat template refuses it: users come first"):
        render_chat(CHAT, processor, "{{ raise_exception('users come first') }}", last_only=False)
    with pytest.raises(MisfitError, match="the chat template refuses it"):
        render_chat(CHAT, processor, "{% for x in %}", last_only=False)


def test_other_names_of_roles_and_contents_are_understood() -> None:
    shared = [
        {"from": "human", "value": "2 + 2?"},
        {"from": "function_call", "value": "add(2, 2)"},
        {"from": "observation", "value": "4"},
        {"from": "gpt", "value": "4"},
    ]
    assert [(m["role"], m["content"]) for m in messages_of(shared)] == [
        ("user", "2 + 2?"),
        ("assistant", "add(2, 2)"),
        ("tool", "4"),
        ("assistant", "4"),
    ]


@pytest.mark.parametrize("value", ["text", [], [3], [{"content": "x"}], [{"role": "user", "content": 3}]])
def test_what_is_no_chat_is_refused(value: object) -> None:
    with pytest.raises(MisfitError):
        messages_of(value)


@pytest.mark.parametrize(
    ("prompt", "completion", "text"),
    [("2 + 2 =", "4", "2 + 2 =\n4"), ("2 + 2 = ", "4", "2 + 2 = 4"), ("2 + 2 =", " 4", "2 + 2 = 4")],
)
def test_a_prompt_and_its_completion_are_apart(prompt: str, completion: str, text: str) -> None:
    rendered = render_pair(prompt, completion)
    assert rendered.text == text
    assert learned(rendered) == [completion]


def test_what_is_asked_ends_before_the_last_answer() -> None:
    rows = Rows({"messages": [CHAT]}, "chats.jsonl", [1])
    columns = Columns(("messages",), ())
    assert form_of(rows, columns) == "chats"
    assert [m["content"] for m in chat_of(rows, columns, 0, "chats", answered=False)][-1] == "And now?"
    asked = Rows({"messages": ["Who are you?"]}, "the given texts", [1])
    assert chat_of(asked, columns, 0, "chats", answered=False) == [{"role": "user", "content": "Who are you?"}]


def test_an_instruction_may_have_nothing_that_it_is_about() -> None:
    columns = Columns(("instruction", "input"), ("output",))
    rows = Rows({"instruction": ["Count.", "Add."], "input": ["", "2, 3"], "output": ["1", "5"]}, "a.jsonl", [1, 2])
    asked = [chat_of(rows, columns, i, "pairs", answered=True)[0]["content"] for i in (0, 1)]
    assert asked == ["Count.", "Add.\n\n2, 3"]
