"""Log-probabilities of sentences: the only place that runs a model for zero-shot tasks.

The official rule: a choice is worth the sum of log p(token | what the model may see) over the tokens of its
completion. The text is tokenised as the tokenizer does by default. A token belongs to the completion if its
character span ends after the completion's first character, so the special tokens of a post-processor, whose
span is empty, give context and are never scored. Backends: `causal` sees everything before the token, and
the very first token has nothing before it to be judged by; `mlm` sees all of the text with the token masked;
`mntp` the same, but the prediction is read one position to the left, and a model that by itself reads from left to
right is given a mask by which it reads in both directions.

Equal sequences are scored once, and what sequences begin with in common is computed once (eval/scorer/prefix_rows.py).
Everything is cut from the sorted set of distinct sequences: the order of the items changes no bit of a result,
and sequences that are equal get equal scores, so a tie is a tie.
"""

# N = the predictions of a batch, S = sequences

import copy
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from babylm_data.causality import reads_by_mask, sees_later_tokens
from babylm_data.errors import UserError
from babylm_data.memory import is_full_memory, keep_freed_memory
from babylm_data.models import longest_input
from eval.scorer.items import Choice, Item, TooLong
from eval.scorer.logits import judge, turns_positions
from eval.scorer.prefix_rows import BatchRow, Encoded, batches, distinct, masked_rows, plain_rows, tree_rows

CELLS = {"cpu": 1024, "cuda": 16384}  # of a batch
CAPACITY = 64  # cells of a row, at least: more share more prefixes, and attend to more that is not theirs
AGREE = 1e-3  # nats, between a sequence in a tree and the same alone


def encode(
    tokenizer: PreTrainedTokenizerBase, choices: Sequence[Choice], backend: str = "causal"
) -> list[Encoded]:
    """Tokenise each choice as a whole and mark the tokens of its completion."""
    if not choices:
        return []
    unseen = 0 if backend == "mlm" else 1  # tokens at the beginning with nothing to read their prediction off
    output = tokenizer([choice.text for choice in choices], return_offsets_mapping=True)
    encoded = []
    for choice, ids, spans in zip(choices, output["input_ids"], output["offset_mapping"], strict=True):
        start = len(choice.context)
        scored = tuple(position >= unseen and span[1] > start for position, span in enumerate(spans))
        encoded.append(Encoded(tuple(ids), scored))
    return encoded


class Scorer:
    """One model, and how it is asked: (sorted, distinct) token sequences -> sums of log-probabilities."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        backend: str = "causal",
        batch_tokens: int | None = None,
    ) -> None:
        """`batch_tokens`: most cells of a batch; None takes what this kind of device is fast with."""
        if backend != "causal" and tokenizer.mask_token_id is None:
            raise UserError(f"--backend {backend} needs a tokenizer with a mask token, and this one has none")
        self.model, self.tokenizer, self.backend = model, tokenizer, backend
        self.cells = batch_tokens or CELLS.get(model.device.type, CELLS["cuda"])
        self.longest = None if turns_positions(model) else longest_input(model)
        self.told = False  # that it does not read trees
        self.both_ways = backend == "mntp" and not sees_later_tokens(model, self.longest)
        if self.both_ways and not reads_by_mask(model, self.longest):
            raise UserError(
                f"a {model.config.model_type} reads from left to right whatever it is told: --backend causal"
            )
        keep_freed_memory()

    def encode(self, choices: Sequence[Choice], names: Sequence[str] | None = None) -> list[Encoded]:
        """Tokenise; a UserError for what the model is too short for, by its name or its text."""
        encoded = encode(self.tokenizer, choices, self.backend)
        for index, entry in enumerate(encoded):
            if not self.reads(entry):
                raise self.too_long(entry, names[index] if names else repr(choices[index].text[:60]))
        return encoded

    def reads(self, entry: Encoded) -> bool:
        """Has the model positions for all of it?"""
        return self.longest is None or len(entry.ids) <= self.longest

    def too_long(self, entry: Encoded, name: str) -> TooLong:
        """The error for a sequence that the model has no positions for; `name` says whose it is."""
        return TooLong(
            f"{name} has {len(entry.ids)} tokens, the model reads at most {self.longest}: "
            "score it with a model that has more positions, or leave this task out"
        )

    def logprobs(
        self, choices: Sequence[Choice], names: Sequence[str] | None = None, label: str = "scoring"
    ) -> np.ndarray:
        """Log-probability of each choice's completion given its context, nats: (len(choices),) float64.

        `names` say whose choice is too long for the model; without them the text itself does.
        """
        return self.token_sums(self.encode(choices, names), label)

    def token_sums(self, encoded: Sequence[Encoded], label: str = "scoring") -> np.ndarray:
        """Sum of the scored tokens' log-probabilities of each sequence, in any order, equals scored once; nats."""
        sequences, places = distinct(encoded)
        return self.sums(sequences, label)[places]

    def greedy_sums(
        self, encoded: Sequence[Encoded], label: str | None = "scoring"
    ) -> tuple[np.ndarray, np.ndarray]:
        """The same, and whether each scored token of a sequence is the one that the model finds likeliest there."""
        sequences, places = distinct(encoded)
        greedy = np.ones(len(sequences), bool)
        return self.sums(sequences, label, greedy)[places], greedy[places]

    def score(self, items: Sequence[Item], label: str = "scoring") -> list[list[float]]:
        """Log-probabilities in nats of each item's choices, in the order of the items."""
        choices = [choice for item in items for choice in item.choices]
        names = [item.uid for item in items for _ in item.choices]
        values = iter(self.logprobs(choices, names, label).tolist())
        return [[next(values) for _ in item.choices] for item in items]

    @torch.no_grad()  # not inference_mode, under which autocast would cast the weights anew for every batch
    def sums(
        self, sequences: Sequence[Encoded], label: str | None = "scoring", greedy: np.ndarray | None = None
    ) -> np.ndarray:
        """Of sequences that are distinct and sorted, what `token_sums` gives: (S,) float64, nats.

        Without a label there is no progress bar. In `greedy`, (S,) bool, if given, each sequence is made False of which
        some scored token is not the likeliest.
        """
        rows = self._rows(sequences)
        first = 0 if self.backend == "mlm" else 1  # that can be judged
        total = sum(sum(entry.scored[first:]) for entry in sequences)
        with tqdm(
            total=total, desc=label, unit=" tokens", disable=None if label else True, leave=False
        ) as bar:
            return self._add_up(self.model, rows, len(sequences), bar, greedy)

    def _add_up(
        self,
        model: PreTrainedModel,
        rows: Iterable[BatchRow],
        count: int,
        bar: tqdm | None = None,
        greedy: np.ndarray | None = None,
    ) -> np.ndarray:
        sums = np.zeros(count)
        for batch in batches(rows, self.cells):
            logprobs_N, likeliest_N = judge(model, batch, greedy=greedy is not None, both_ways=self.both_ways)
            np.add.at(sums, batch.owners_N, logprobs_N)
            if greedy is not None:
                greedy[batch.owners_N[~likeliest_N]] = False
            if bar is not None:
                bar.update(len(batch.targets_N))
        return sums

    def _rows(self, sequences: Sequence[Encoded]) -> Iterable[BatchRow]:
        if self.backend != "causal":
            return masked_rows(sequences, self.tokenizer.mask_token_id, int(self.backend == "mntp"))
        rows = tree_rows(sequences, CAPACITY)
        if self._reads_trees(sequences, rows):
            return rows
        if not self.told:
            print(
                "this model reads a sentence in a tree otherwise than alone: it gets them one by one, slower"
            )
            self.told = True
        return plain_rows(sequences)

    def _reads_trees(self, sequences: Sequence[Encoded], rows: list[BatchRow]) -> bool:
        """Does this model see in a tree what it sees in a sequence alone? Tried on the fullest and the longest row.

        Some cannot be told which cell sees which: they have no attention, or a mask of their own making. A model in
        bfloat16 is tried in float32, for its rounding alone moves a sum by more than AGREE.
        """
        if not rows:
            return True
        fullest = max(rows, key=lambda row: len(set(row.owners)))
        longest = max(rows, key=lambda row: max(row.depths))
        try:
            narrow = torch.finfo(self.model.dtype).bits < 32
            model = copy.deepcopy(self.model).float() if narrow else self.model
            with torch.autocast(model.device.type, enabled=False):
                return all(self._agrees(model, sequences, row) for row in (fullest, longest))
        # as each model refuses a mask that it does not take
        except (RuntimeError, ValueError, TypeError) as error:
            if is_full_memory(error):
                raise
            return False

    def _agrees(self, model: PreTrainedModel, sequences: Sequence[Encoded], row: BatchRow) -> bool:
        """Does `row` give its sequences the sums that they have alone?"""
        owners = sorted(set(row.owners))
        alone = [sequences[owner] for owner in owners]
        plain = self._add_up(model, plain_rows(alone), len(alone))
        tree = self._add_up(model, [row], len(sequences))[owners]
        return np.allclose(tree, plain, rtol=1e-5, atol=AGREE, equal_nan=True)
