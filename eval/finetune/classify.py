"""A (Super)GLUE task as something to fine-tune on: its token sequences, its network and its scores."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from babylm_data.errors import UserError
from eval.finetune.encoding import Encoded, cut_note, reads_segments, separate_pairs
from eval.finetune.glue import TASKS, Example

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from eval.finetune.loop import Settings, Validation


def metrics(gold: Sequence[int], predicted: Sequence[int], labels: int) -> dict[str, float]:
    """Accuracy, F1 (of label 1; of three labels the plain mean) and Matthews' correlation."""
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    average = "binary" if labels == 2 else "macro"
    return {
        "accuracy": float(accuracy_score(gold, predicted)),
        "f1": float(f1_score(gold, predicted, average=average, zero_division=0)),
        "mcc": float(matthews_corrcoef(gold, predicted)),
    }


def encode(
    tokenizer: "PreTrainedTokenizerBase",
    config: "PreTrainedConfig",
    examples: Sequence[Example],
    *,
    max_length: int,
    separator: str,
    segments: bool,
) -> tuple[Encoded, int]:
    """Token sequences of at most `max_length`, the longer text of a pair cut first, and how many were cut."""
    firsts = [example.first for example in examples]
    pairs = examples[0].second is not None
    texts = (firsts, [f"{separator}{example.second}" for example in examples]) if pairs else (firsts,)
    whole = tokenizer(*texts, padding=False, truncation=False)["input_ids"]
    output = tokenizer(
        *texts, padding=False, truncation=True, max_length=max_length, return_token_type_ids=True
    )
    cut = sum(len(ids) > max_length for ids in whole)
    types = output["token_type_ids"] if segments and reads_segments(config) else None
    return Encoded(output["input_ids"], [(example.label,) for example in examples], types), cut


@dataclass
class Classification:
    """The protocol `Problem` of eval/finetune/loop.py for a task of one label per row."""

    task: str
    train: Encoded
    valid: Encoded
    notes: list[str]
    majority: dict[str, float]
    keep = "best"

    @property
    def metric(self) -> str:
        """Which of the metrics chooses the epoch."""
        return TASKS[self.task].metric

    def network(self, backbone: "PreTrainedModel", settings: "Settings") -> "nn.Module":
        """The backbone with a new head."""
        from eval.finetune.heads import Classifier

        return Classifier(backbone, labels=TASKS[self.task].labels, head=settings.head, pool=settings.pool)

    def validate(self, network: "nn.Module", settings: "Settings") -> "Validation":
        """Loss and metrics on the validation rows, and the predictions in the official form."""
        from eval.finetune.heads import label_loss
        from eval.finetune.loop import Validation, outputs

        predicted, losses = [0] * len(self.valid), []
        for rows, logits, targets in outputs(network, self.valid, settings):
            losses.append(len(rows) * label_loss(logits, targets).item())
            for row, label in zip(rows, logits.argmax(dim=-1).tolist(), strict=True):
                predicted[row] = label
        gold = [target[0] for target in self.valid.targets]
        listed = [{"id": f"{self.task}_{row}", "pred": label} for row, label in enumerate(predicted)]
        found = metrics(gold, predicted, TASKS[self.task].labels)
        return Validation(math.fsum(losses) / len(self.valid), found, {self.task: {"predictions": listed}})


def majority(train: Encoded, valid: Encoded, labels: int) -> dict[str, float]:
    """What always giving the most frequent training label scores: the line that a model has to pass."""
    ((label,), _), *_ = Counter(train.targets).most_common(1)
    return metrics([target[0] for target in valid.targets], [label] * len(valid), labels)


def prepare(
    task: str,
    train: Sequence[Example],
    valid: Sequence[Example],
    tokenizer: "PreTrainedTokenizerBase",
    config: "PreTrainedConfig",
    settings: "Settings",
) -> Classification:
    """Tokenise a task. The official program knows no segments and puts nothing between two texts."""
    official = settings.head == "official"
    separator = "" if official else separate_pairs(tokenizer)
    least = tokenizer.num_special_tokens_to_add(pair=True) + 2
    if settings.max_length < least:
        raise UserError(
            f"{task}: inputs of {settings.max_length} tokens have no room for two texts: "
            f"give --max-length {least} or more"
        )
    sides = [
        encode(
            tokenizer,
            config,
            side,
            max_length=settings.max_length,
            separator=separator,
            segments=not official,
        )
        for side in (train, valid)
    ]
    (train_set, train_cut), (valid_set, valid_cut) = sides
    what = f"inputs are longer than {settings.max_length} tokens"
    notes = cut_note(task, train_cut, valid_cut, what)
    return Classification(
        task, train_set, valid_set, notes, majority(train_set, valid_set, TASKS[task].labels)
    )
