"""Which tokens are learned, one by one, and how texts share rows."""

from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from whet.core import Columns, Examples, Ragged, Rows
from whet.data.chats import TEMPLATES
from whet.data.conversations import Conversations
from whet.data.next_tokens import UNLEARNED, collate, illustrated
from whet.errors import RecipeError

PAIRS = Columns(("prompt",), ("completion",))
CHATS = Columns(("messages",), ())
TEXT = Columns(("text",), ())


@pytest.fixture
def processor(tiny_decoder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_decoder)
    return tokenizer


def pairs(*rows: tuple[str, str]) -> Rows:
    prompts, completions = zip(*rows, strict=True)
    return Rows({"prompt": list(prompts), "completion": list(completions)}, "pairs.jsonl", range(1, len(rows) + 1))


def texts(*rows: str) -> Rows:
    return Rows({"text": list(rows)}, "texts.jsonl", range(1, len(rows) + 1))


def targets(examples: Examples) -> Ragged:
    assert isinstance(examples.targets, Ragged)
    return examples.targets


def test_every_token_of_a_completion_and_its_stop_is_learned_and_nothing_else(
    processor: PreTrainedTokenizerBase,
) -> None:
    rows = pairs(("Name a day:", "Monday"), ("Say", "ö!"))
    examples = Conversations(processor, "pairs", "answers", None, False, None).examples(rows, PAIRS)
    for i, (prompt, completion) in enumerate((("Name a day:\n", "Monday"), ("Say\n", "ö!"))):
        tokens, wanted = examples.inputs["input_ids"][i], targets(examples)[i]
        answer = [*processor(completion, add_special_tokens=False)["input_ids"], processor.eos_token_id]
        assert tokens.tolist() == [
            processor.bos_token_id,
            *processor(prompt, add_special_tokens=False)["input_ids"],
            *answer,
        ]
        assert wanted.tolist() == [UNLEARNED] * (len(tokens) - len(answer)) + answer


@pytest.mark.parametrize("learn", ["answers", "last_answer", "everything"])
@pytest.mark.parametrize("template", ["plain", "chatml"])
def test_every_chat_holds_a_stop_token_that_is_learned(
    learn: str, template: str, processor: PreTrainedTokenizerBase
) -> None:
    chat = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "So?"},
        {"role": "assistant", "content": "Yes"},
    ]
    rows = Rows({"messages": [chat, chat[:2]]}, "chats.jsonl", [1, 2])
    made = Conversations(processor, "chats", learn, template, False, 200)  # type: ignore[arg-type]
    processor.model_max_length = 200
    examples = made.examples(rows, CHATS)
    assert processor.chat_template == TEMPLATES[template]
    for i in range(2):
        assert targets(examples)[i][-1] == processor.eos_token_id
    said = [processor.decode(row[row >= 0].tolist()) for row in (targets(examples)[0], targets(examples)[1])]
    if learn == "answers" and template == "plain":
        assert said == ["Hi</s>Yes</s>", "Hi</s>"]
    if learn == "last_answer" and template == "plain":
        assert said == ["Yes</s>", "Hi</s>"]
    if learn == "everything":
        assert "Hello" in said[0]


def test_packed_texts_fill_every_row_but_the_last_and_lose_no_token(processor: PreTrainedTokenizerBase) -> None:
    rows = texts("first text", "x" * 50, "the third", "and another one")
    packed = Conversations(processor, "text", "answers", None, True, 16).examples(rows, TEXT)
    alone = Conversations(processor, "text", "answers", None, False, 96).examples(rows, TEXT)
    assert set(packed.lengths[:-1]) == {16}
    assert packed.inputs["input_ids"].values.tolist() == alone.inputs["input_ids"].values.tolist()
    # No token is told by a token of another text, and every piece begins at position 0.
    positions = packed.inputs["position_ids"].values
    assert (targets(packed).values[positions == 0] == UNLEARNED).all()
    assert (np.flatnonzero(positions == 0)[1:] > 0).all()
    assert packed.truncated == 0


def test_whole_examples_share_rows_where_that_is_wanted(processor: PreTrainedTokenizerBase) -> None:
    rows = pairs(*[("ab", "cd")] * 5)
    packed = Conversations(processor, "pairs", "answers", None, True, 20).examples(rows, PAIRS)
    # <s> a b \n c d </s> are seven tokens.
    assert packed.lengths.tolist() == [14, 14, 7]
    assert packed.inputs["position_ids"][0].tolist() == [*range(7), *range(7)]


def test_a_row_that_is_too_long_loses_its_end_or_the_beginning_of_its_prompt(
    processor: PreTrainedTokenizerBase,
) -> None:
    made = Conversations(processor, "pairs", "answers", None, False, 12)
    examples = made.examples(pairs(("ab", "cd"), ("ab", "c" * 30), ("a" * 30 + "b", "cd")), PAIRS)
    assert examples.truncated == 2
    assert examples.lengths.tolist() == [7, 12, 12]
    assert processor.decode(examples.inputs["input_ids"][1].tolist()) == "<s>ab\nccccccccc"[: 3 + 11]
    assert processor.decode(examples.inputs["input_ids"][2].tolist()) == "aaaaaaab\ncd</s>"
    assert processor.decode(targets(examples)[2][-3:].tolist()) == "cd</s>"


def test_chats_need_a_template(processor: PreTrainedTokenizerBase) -> None:
    rows = Rows({"messages": [[{"role": "user", "content": "Hello"}]]}, "chats.jsonl", [1])
    with pytest.raises(RecipeError, match=r"no chat template; set task.template to 'plain' or 'chatml'"):
        Conversations(processor, "chats", "answers", None, False, None).examples(rows, CHATS)


def test_a_batch_weighs_what_it_learns(processor: PreTrainedTokenizerBase) -> None:
    rows = pairs(("ab", "cd"), ("a", "cdefg"))
    examples = Conversations(processor, "pairs", "answers", None, False, None).examples(rows, PAIRS)
    batch = collate(examples, np.array([0, 1]))
    assert batch.targets is not None
    assert batch.weight == 3 + 6
    assert (batch.targets[batch.inputs["attention_mask"] == 0] == UNLEARNED).all()
    assert batch.tokens == int(batch.inputs["attention_mask"].sum())


def test_the_first_row_is_shown_in_pieces(processor: PreTrainedTokenizerBase) -> None:
    examples = Conversations(processor, "pairs", "answers", None, False, None).examples(pairs(("ab", "cd")), PAIRS)
    assert illustrated(examples, processor) == [("<s>ab\n", False), ("cd</s>", True)]


def test_what_is_asked_is_what_was_learned_up_to_the_answer(processor: PreTrainedTokenizerBase) -> None:
    rows = pairs(("Name a day:", "Monday"))
    for template in (None, "plain"):
        made = Conversations(processor, "pairs", "answers", template, False, None)
        learned = made.examples(rows, PAIRS)
        (asked,) = made.prompts(rows, PAIRS).tokens
        start = int(np.flatnonzero(targets(learned)[0] >= 0)[0])
        assert learned.inputs["input_ids"][0][:start].tolist() == asked
        assert processor.eos_token_id in made.prompts(rows, PAIRS).stops
