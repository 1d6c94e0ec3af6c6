"""What is said in a clip: how it is learned, measured and written, by a CTC model or by one that writes token by token.

Shape letters: B clips, T steps of the longest, V tokens, S tokens of the longest transcript.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from whet import metrics
from whet.core import Answer, Batch, Columns, Examples, Problem, Ragged, Rows, Scores

if TYPE_CHECKING:
    from torch import Tensor, nn

    from whet.data.clips import Clips
    from whet.data.spelling import Case, Punctuation
    from whet.model.hearing import Hearing

AT_ONCE = 8
"""Clips that are written down together."""


class Transcription:
    """From clips to losses, scores and texts; which columns they come from is the task's own."""

    if TYPE_CHECKING:

        @property
        def decoding(self) -> Literal["ctc", "seq2seq"] | None: ...
        @property
        def max_seconds(self) -> float | None: ...
        @property
        def case(self) -> Case | None: ...
        @property
        def punctuation(self) -> Punctuation | None: ...
        @property
        def new_tokens(self) -> int: ...

    @property
    def problem(self) -> Problem:
        """A text is to be written."""
        return "transcript"

    @property
    def metric(self) -> str:
        """Wrong words where every validation row is written; else the loss of its tokens."""
        return "loss" if self.decoding == "seq2seq" else "wer"

    @property
    def metrics(self) -> Mapping[str, bool]:
        """What ``score`` returns, and the loss."""
        known = {"ctc": metrics.TRANSCRIPT, "seq2seq": metrics.NEXT_TOKEN}
        chosen = known.values() if self.decoding is None else [known[self.decoding]]
        return {name: more for one in chosen for name, more in one.items()} | {"loss": False}

    def collate(self, examples: Examples, indices: np.ndarray) -> Batch:
        """Clips with what is said in them."""
        import torch

        from whet.data.batch import pad
        from whet.data.clips import batch_of
        from whet.data.transcripts import DECODER, NOTHING, UNLEARNED

        inputs, targets = batch_of(examples, indices), None
        weight = 0.0
        if isinstance(examples.targets, Ragged):
            written = self.decoding == "seq2seq"
            targets = torch.from_numpy(pad(examples.targets, indices, UNLEARNED if written else NOTHING))
            weight = float((targets >= 0).sum()) - (0 if written else 2 * len(indices))
        if DECODER in examples.inputs:
            inputs[DECODER] = torch.from_numpy(pad(examples.inputs[DECODER], indices, examples.fills[DECODER]))
        return Batch(inputs, targets, weight, len(indices), 0)

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The sum over the clips of -log p(transcript)."""
        from whet.model.transcribe import ctc_loss, forced

        assert batch.targets is not None
        if self.decoding == "seq2seq":
            return forced(outputs["logits"], batch.targets)[0]
        return ctc_loss(outputs["logits"], batch.targets)

    def predict(self, outputs: Mapping[str, Tensor], batch: Batch) -> tuple[np.ndarray, float | None]:
        """(B, S) tokens of what a CTC model hears; (B, 3) loss, tokens, and right ones behind the true ones before."""
        from whet.data.transcripts import KEPT
        from whet.model.transcribe import ctc_tokens, forced

        assert batch.targets is not None
        if self.decoding == "seq2seq":
            total, sums = forced(outputs["logits"], batch.targets)
            return sums, float(total) if batch.weight else None
        tokens = ctc_tokens(outputs["logits"], batch.targets, KEPT)
        return tokens, float(self.loss(outputs, batch)) if batch.weight else None

    def score(self, predictions: np.ndarray, examples: Examples) -> Scores:
        """Errors in words and characters, or perplexity and the share of the tokens that are right."""
        from whet.data.transcripts import SpokenClips

        if self.decoding == "seq2seq":
            return metrics.next_token(predictions)
        assert isinstance(examples, SpokenClips)
        return metrics.transcripts(examples.texts(predictions), examples.references)

    def write(self, model: nn.Module, processor: Hearing, rows: Rows, columns: Columns) -> list[Answer]:
        """What is said in each clip; a long one is heard in pieces."""
        import torch

        from whet.data import sound
        from whet.data.batch import sorted_batches
        from whet.data.clips import batch_of, heard, limit
        from whet.model.transcribe import ctc_tokens, written

        assert self.max_seconds is not None
        seconds = limit(processor, self.max_seconds)
        pieces, owners = [], []
        for row, clip in enumerate(sound.waves(rows, columns.text[0], processor.rate, None)):
            for piece in sound.parts(clip, seconds):
                pieces.append(piece)
                owners.append(row)
        clips = heard(pieces, processor, self.max_seconds)
        model.eval()
        device = next(model.parameters()).device
        texts = [""] * len(pieces)
        for indices in sorted_batches(clips.lengths, int(clips.lengths.max(initial=1)) * AT_ONCE):
            inputs = {name: tensor.to(device) for name, tensor in batch_of(clips, indices).items()}
            if self.decoding == "seq2seq":
                opening, stop = processor.opening, processor.stop
                tokens = written(model, inputs, opening, stop, min(self.new_tokens, processor.room))
            else:
                steps = torch.tensor([[int(clips.lengths[i]), processor.blank] for i in indices], device=device)
                with torch.inference_mode():
                    found = ctc_tokens(model(**inputs).logits, steps, int(clips.lengths.max()))
                tokens = [[one for one in row if one >= 0] for row in found.tolist()]
            for i, text in zip(indices, processor.texts(tokens), strict=True):
                texts[i] = text
        said: list[list[str]] = [[] for _ in range(len(rows))]
        for owner, text in zip(owners, texts, strict=True):
            said[owner].append(text)
        return [Answer(" ".join(filter(None, one)), {}) for one in said]

    def openings(self, rows: Rows, columns: Columns) -> Rows:
        """The rows as they are: nothing of a transcript is given."""
        return rows

    def compare(self, answers: Sequence[Answer], rows: Rows, columns: Columns) -> Scores:
        """Errors in words and characters of texts that were written token by token."""
        if self.decoding != "seq2seq" or not columns.label or not answers:
            return {}
        return metrics.transcripts([self.spelled(answer.label) for answer in answers], self.references(rows, columns))

    def illustrate(self, examples: Examples, processor: Hearing) -> list[tuple[str, bool]]:
        """The first transcript in the spelling that is learned."""
        from whet.data.transcripts import SpokenClips

        assert isinstance(examples, SpokenClips)
        seconds = examples.seconds[0]
        return [(f"({seconds:.1f} s of sound) ", False), (examples.references[0], True)]

    def references(self, rows: Rows, columns: Columns) -> list[str]:
        """(N,) transcripts in the spelling that is learned."""
        return [self.spelled(value) for value in rows.columns[columns.label[0]]]

    def spelled(self, text: object) -> str:
        """A transcript in the spelling that is learned."""
        from whet.data.spelling import spelled

        return spelled(text, self.case or "keep", self.punctuation or "keep")

    def clips_of(self, rows: Rows, columns: Columns, processor: Hearing) -> Clips:
        """Clips with what is said in them; raises DataError naming those that cannot be learned."""
        from whet.data import transcripts
        from whet.data.clips import read, refuse_long

        assert self.max_seconds is not None
        clips = read(rows, columns.text[0], processor, self.max_seconds)
        references = self.references(rows, columns) if columns.label else []
        transcripts.refuse_unspeakable(rows, columns.label[0] if columns.label else "", references)
        if references:
            refuse_long(rows, clips, self.max_seconds)
        numbers = [processor.numbers(text) for text in references]
        if self.decoding == "seq2seq":
            return transcripts.forced(rows, clips, references, numbers, processor)
        transcripts.refuse_long(rows, numbers, clips.lengths)
        return transcripts.spread(clips, references, numbers, processor)
