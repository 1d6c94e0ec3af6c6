"""How a CTC model spells: a token for each character, one between words, and the blank between characters."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerBase, Wav2Vec2CTCTokenizer

from whet.model.locate import opening

BLANK, UNKNOWN, SPACE = "<pad>", "<unk>", "|"
_FILES = ("tokenizer_config.json", "vocab.json")


def open_tokenizer(name: str, folder: Path) -> PreTrainedTokenizerBase:
    """What spells the answers of a model that writes."""
    with opening(f"{name}: its tokenizer"):
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=False, local_files_only=True
        )
    return tokenizer


def spelling(name: str, folder: Path, characters: str | None) -> tuple[PreTrainedTokenizerBase, bool]:
    """A tokenizer that has all ``characters``, and whether it is the model's own.

    Those are the characters of the transcripts; None keeps the model's own in any case.
    """
    if all((folder / file).is_file() for file in _FILES):
        own = open_tokenizer(name, folder)
        if characters is None or (isinstance(own, Wav2Vec2CTCTokenizer) and not unspelled(characters, own)):
            return own, True
    return new_vocabulary(characters or ""), False


def new_vocabulary(characters: str) -> Wav2Vec2CTCTokenizer:
    """A tokenizer of these characters; a space becomes the sign between words."""
    tokens = [BLANK, UNKNOWN, SPACE, *sorted(set(characters) - {" ", SPACE})]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({token: i for i, token in enumerate(tokens)}, ensure_ascii=False), encoding="utf-8")
        return Wav2Vec2CTCTokenizer(  # type: ignore[no-untyped-call]
            str(path), bos_token=None, eos_token=None, unk_token=UNKNOWN, pad_token=BLANK, word_delimiter_token=SPACE
        )


def spell_with(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a model have an output for every token, and take padding for its blank, as transformers does."""
    config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id


def in_its_case(text: str, tokenizer: PreTrainedTokenizerBase) -> str:
    """A text in capitals, or without, where the tokenizer knows only the one or the other."""
    known = [token for token in tokenizer.get_vocab() if len(token) == 1]
    lower, upper = (any(test(token) for token in known) for test in (str.islower, str.isupper))
    if lower == upper:
        return text
    return text.lower() if lower else text.upper()


def unspelled(characters: str, tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The characters for which a tokenizer has no token, in its own case."""
    known = tokenizer.get_vocab()
    return {one for one in in_its_case(characters, tokenizer) if not one.isspace() and one not in known}


def numbers(text: str, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of a text, one for each character."""
    known: dict[str, int] = tokenizer.get_vocab()
    unknown = int(tokenizer.unk_token_id)
    space = known.get(SPACE, known.get(" ", unknown))
    return [space if one == " " else known.get(one, unknown) for one in in_its_case(text, tokenizer)]


def texts(rows: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Tokens without blanks and repetitions as texts."""
    names = {number: token for token, number in tokenizer.get_vocab().items()}
    # The sign between words counts as a special token, too.
    silent = {number for number in tokenizer.all_special_ids if names[number] != SPACE}
    return [
        " ".join("".join(names[one] for one in row if one not in silent).replace(SPACE, " ").split()) for row in rows
    ]
