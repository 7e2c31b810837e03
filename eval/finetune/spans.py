"""Answers as spans of a passage: windows with a stride over long passages, and the best span over all of them.

Every window holds the question and a part of the passage. A window without the answer is trained towards its
first token, which is never part of a passage. An answer is the span with the highest sum of the two logits over
all windows of its question, at most 30 tokens long, found exactly and not among the n best of each end.
Devlin et al. (2019), arXiv:1810.04805, section 4.2.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from babylm_data.errors import UserError
from eval.finetune.encoding import Encoded, cut_note, reads_segments, separate_pairs
from eval.finetune.heads import SpanExtractor, span_loss
from eval.finetune.squad import TASK, Question, metrics

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from eval.finetune.loop import Settings, Validation

ANSWER, SHORTEST = 30, 16  # tokens: an answer's most, a window's least
CHUNK = 1000  # questions tokenised at a time: the characters of every token of 88,000 would fill gigabytes


class Window(NamedTuple):
    """Where a window's part of the passage lies."""

    question: int
    """Number of the question that the window belongs to."""
    at: int
    """Place of the passage's first token in the window."""
    spans: np.ndarray
    """(n, 2): first character of each of its tokens, and the one behind it."""


@dataclass
class Windows:
    """Token sequences, what they are windows of, and how many questions were too long."""

    encoded: Encoded
    parts: list[Window]
    cut: int


def longest_question(max_length: int) -> int:
    """Tokens that are kept of a question: 64, as BERT did, or half of a short window."""
    return min(64, max_length // 2)


def cut_questions(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], most: int) -> list[str]:
    """The questions without what is behind their first `most` tokens."""
    output = tokenizer(
        list(texts), add_special_tokens=False, padding=False, truncation=False, return_offsets_mapping=True
    )
    return [
        text[: offsets[most - 1][1]] if len(offsets) > most else text
        for text, offsets in zip(texts, output["offset_mapping"], strict=True)
    ]


def make_windows(
    tokenizer: "PreTrainedTokenizerBase",
    config: "PreTrainedConfig",
    questions: Sequence[Question],
    settings: "Settings",
) -> Windows:
    """Cut every question's passage into windows of at most `settings.max_length` tokens."""
    separator, most = separate_pairs(tokenizer), longest_question(settings.max_length)
    texts = cut_questions(tokenizer, [question.question for question in questions], most)
    longest = max(map(len, tokenizer(texts, add_special_tokens=False)["input_ids"]))
    room = settings.max_length - longest - tokenizer.num_special_tokens_to_add(pair=True)
    ids, types, parts = [], [], []
    for at in range(0, len(questions), CHUNK):
        output = tokenizer(
            texts[at : at + CHUNK],
            [separator + question.context for question in questions[at : at + CHUNK]],
            padding=False,
            truncation="only_second",
            max_length=settings.max_length,
            stride=min(settings.stride, room // 2),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_token_type_ids=True,
        )
        ids += output["input_ids"]
        types += output["token_type_ids"]
        for row, owner in enumerate(output["overflow_to_sample_mapping"]):
            place, spans = _passage(output.sequence_ids(row), output["offset_mapping"][row], len(separator))
            parts.append(Window(at + owner, place, spans))
    targets = [_target(questions[part.question], part) for part in parts]
    encoded = Encoded(ids, targets, types if reads_segments(config) else None)
    cut = sum(text != question.question for text, question in zip(texts, questions, strict=True))
    return Windows(encoded, parts, cut)


def _passage(
    sequences: list[int | None], offsets: list[tuple[int, int]], skip: int
) -> tuple[int, np.ndarray]:
    """Place of the first token with a character of the passage, and the characters of it and those behind it.

    `skip` characters before the passage are the separator's; the passage's tokens stand in one run.
    """
    inside = [
        place
        for place, (part, (_, end)) in enumerate(zip(sequences, offsets, strict=True))
        if part == 1 and end > skip
    ]
    if not inside:
        return 0, np.zeros((0, 2), dtype=np.int32)
    run = np.array(offsets[inside[0] : inside[-1] + 1], dtype=np.int32)
    return inside[0], np.maximum(run - skip, 0)


def _target(question: Question, part: Window) -> tuple[int, int]:
    """Places of the first and last token of the first reference answer; (0, 0) if it is not whole in here."""
    text, start = question.answers[0]
    stop, spans = start + len(text), part.spans
    inside = np.flatnonzero((spans[:, 0] < stop) & (spans[:, 1] > start))
    if not len(inside) or spans[inside[0], 0] > start or spans[inside[-1], 1] < stop:
        return 0, 0
    return part.at + int(inside[0]), part.at + int(inside[-1])


def best_spans(start: Tensor, end: Tensor, allowed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, T) logits and mask -> score, place of first and of last token of each row's best span, (B,) each."""
    length = start.shape[1]
    sums = start.masked_fill(~allowed, -torch.inf).unsqueeze(2) + end.masked_fill(
        ~allowed, -torch.inf
    ).unsqueeze(1)
    in_order = torch.ones(length, length, dtype=torch.bool, device=start.device).triu().tril(ANSWER - 1)
    scores, places = sums.masked_fill(~in_order, -torch.inf).flatten(1).max(dim=1)
    return scores, places // length, places % length


@dataclass
class Extraction:
    """The protocol `Problem` of eval/finetune/loop.py for SQuAD."""

    train: Encoded
    valid: Windows
    questions: Sequence[Question]
    notes: list[str]
    keep = "last"
    metric = TASK.metric
    majority = None

    def network(self, backbone: "PreTrainedModel", settings: "Settings") -> nn.Module:
        """The backbone with a new head."""
        return SpanExtractor(backbone)

    def validate(self, network: nn.Module, settings: "Settings") -> "Validation":
        """Loss, exact match and F1, and the answers in the form of SQuAD's own script: {question id: text}."""
        from eval.finetune.loop import Validation, outputs

        best: dict[int, tuple[float, str]] = {}
        losses = []
        for rows, (start, end), targets in outputs(network, self.valid.encoded, settings):
            losses.append(len(rows) * span_loss((start, end), targets).item())
            parts = [self.valid.parts[row] for row in rows]
            allowed = torch.zeros(start.shape, dtype=torch.bool)
            for line, part in enumerate(parts):
                allowed[line, part.at : part.at + len(part.spans)] = True
            found = [column.tolist() for column in best_spans(start, end, allowed.to(start.device))]
            for part, score, first, last in zip(parts, *found, strict=True):
                number = part.question
                if len(part.spans) and (number not in best or score > best[number][0]):
                    left, right = part.spans[first - part.at, 0], part.spans[last - part.at, 1]
                    best[number] = (score, self.questions[number].context[left:right].strip())
        answers = {
            question.uid: best.get(number, (0.0, ""))[1] for number, question in enumerate(self.questions)
        }
        loss = math.fsum(losses) / len(self.valid.encoded)
        return Validation(loss, metrics(answers, self.questions), answers)


def prepare(
    train: Sequence[Question],
    valid: Sequence[Question],
    tokenizer: "PreTrainedTokenizerBase",
    config: "PreTrainedConfig",
    settings: "Settings",
) -> Extraction:
    """Tokenise the questions and cut their passages into windows."""
    if settings.max_length < SHORTEST:
        raise UserError(
            f"squad: windows of {settings.max_length} tokens hold no question: give {SHORTEST} or more"
        )
    train_set, valid_set = (make_windows(tokenizer, config, side, settings) for side in (train, valid))
    what = f"questions are longer than {longest_question(settings.max_length)} tokens"
    return Extraction(
        train_set.encoded, valid_set, valid, cut_note("squad", train_set.cut, valid_set.cut, what)
    )
