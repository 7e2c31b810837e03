"""The kit's scorer as a model of lm_eval, so that every task of the harness can be run with it.

`loglikelihood` is the rule of `eval.scorer`: context and continuation are tokenised as one text, by the tokenizer's
own default, and a token belongs to the continuation if its character span ends after the continuation's beginning.
lm_eval's own `hf` model counts the tokens of the context alone instead, moves the spaces at its end to the
continuation, and puts BOS or EOS before an empty context. Both agree where a space is part of the word that it
precedes and the tokenizer puts BOS before a text; elsewhere this one does what `python -m eval` does. So does it with
texts that are longer than the model's positions: a model whose positions are angles, which have no end, reads them.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model
from tqdm import tqdm

from babylm_data.errors import UserError
from babylm_data.models import longest_input
from eval.harness.task_files import OURS
from eval.scorer.items import Choice
from eval.scorer.log_probs import Scorer, encode
from eval.scorer.model import find_model, load_for_scoring
from eval.scorer.prefix_rows import Encoded
from eval.tasks.perplexity import WINDOW, start_token, windows

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance


@register_model("babylm")
class KitModel(LM):
    """A model folder, or the name of a hub model on this machine, scored by the kit."""

    def __init__(
        self,
        pretrained: str,
        *,
        device: str | None = "auto",
        dtype: str = "float32",
        batch_tokens: int | None = None,
        batch_size=None,
        max_batch_size=None,
    ) -> None:
        """Load the model. Batches are counted in tokens: lm_eval's two sizes are taken and not used."""
        super().__init__()
        self.model, self.tokenizer = load_for_scoring(
            find_model(pretrained), device=device or "auto", dtype=dtype
        )
        self._device = self.model.device
        self.scorer = Scorer(self.model, self.tokenizer, batch_tokens=batch_tokens)
        self.limit = longest_input(self.model)
        """Positions that its config states, for what we cut ourselves: the windows of a text, what is written."""
        self.cut: Counter[str] = Counter()
        """Requests of each task that were too long for the model and lost their beginning."""

    def loglikelihood(
        self, requests: "list[Instance]", disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """(log-probability in nats, is it what the model would say itself?) of each continuation."""
        encoded = encode(self.tokenizer, [Choice(*request.args) for request in requests])
        fitting = [self._fit(entry, request) for entry, request in zip(encoded, requests, strict=True)]
        answers = self._answers(fitting, "loglikelihood", disable_tqdm)
        refuse_broken(requests, [nats for nats, _ in answers])
        return answers

    def loglikelihood_rolling(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[float]:
        """Log-probability in nats of each text, read in the windows of `eval.tasks.perplexity`."""
        window = min(WINDOW, self.limit or WINDOW)
        start = start_token(self.tokenizer)
        cut = []
        for number, request in enumerate(requests):
            ids = self.tokenizer(request.args[0], add_special_tokens=False)["input_ids"]
            cut += windows([start, *ids], window, window // 2, number)
        encoded = [
            Encoded(entry.ids, tuple(place >= entry.first for place in range(len(entry.ids))))
            for entry in cut
        ]
        totals = [0.0] * len(requests)
        answers = self._answers(encoded, "loglikelihood_rolling", disable_tqdm)
        for entry, (nats, _) in zip(cut, answers, strict=True):
            totals[entry.text] += nats
        refuse_broken(requests, totals)
        return totals

    def generate_until(self, requests: "list[Instance]", disable_tqdm: bool = False) -> list[str]:
        """What the model writes after each context, one at a time, as the task's settings ask for it."""
        progress = tqdm(requests, desc="generate_until", disable=disable_tqdm or None, leave=False)
        return [self._generate(request) for request in progress]

    def _fit(self, entry: Encoded, request: "Instance") -> Encoded:
        """`entry`, or its end if the model has too few positions; a task of the kit is refused instead."""
        if self.scorer.reads(entry):
            return entry
        longest = self.scorer.longest
        # in what is left, nothing stands before the first token to judge it by
        if (request.task_name or "").startswith(OURS) or any(entry.scored[: 1 - longest]):
            raise self.scorer.too_long(entry, f"{request.task_name}, item {request.doc_id},")
        self.cut[request.task_name] += 1
        return Encoded(entry.ids[-longest:], entry.scored[-longest:])

    def _answers(
        self, encoded: Sequence[Encoded], label: str, disable_tqdm: bool
    ) -> list[tuple[float, bool]]:
        """Sum of the scored tokens' log-probabilities of each, and whether every one of them is the likeliest."""
        sums, greedy = self.scorer.greedy_sums(encoded, None if disable_tqdm else label)
        return list(zip(sums.tolist(), greedy.tolist(), strict=True))

    @torch.inference_mode()
    def _generate(self, request: "Instance") -> str:
        """One text. A context too long for the model loses its beginning, an answer too long its end."""
        from lm_eval.models.utils import (
            handle_stop_sequences,
            normalize_gen_kwargs,
            postprocess_generated_text,
        )
        from lm_eval.models.utils_hf import stop_sequences_criteria

        context, settings = request.args
        settings = normalize_gen_kwargs(settings)
        until = handle_stop_sequences(settings.pop("until", None), eos=self.tokenizer.eos_token)
        longest = settings.pop("max_gen_toks")
        if not settings.get("do_sample"):
            settings.pop("temperature", None)  # greedy: transformers warns of a temperature that it ignores
        ids = self.tokenizer(context, add_special_tokens=False)["input_ids"]
        ids = [start_token(self.tokenizer), *ids]
        if self.limit is not None:
            room = self.limit - min(longest, self.limit // 2)
            self.cut[request.task_name] += len(ids) > room
            ids = ids[-room:]
            longest = min(longest, self.limit - len(ids))
        ids_1T = torch.tensor([ids], device=self.model.device)
        written_1T = self.model.generate(
            input_ids=ids_1T,
            attention_mask=torch.ones_like(ids_1T),
            max_new_tokens=longest,
            stopping_criteria=stop_sequences_criteria(self.tokenizer, until, len(ids), 1),
            pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id,
            **settings,
        )
        text = self.tokenizer.decode(written_1T[0, len(ids) :], skip_special_tokens=True)
        return postprocess_generated_text(text, until, None)


def refuse_broken(requests: "Sequence[Instance]", nats: Sequence[float]) -> None:
    """Raise UserError if any log-probability is NaN or infinite: lm_eval would call choice 0 right."""
    items = {(request.task_name, request.doc_id) for request in requests}
    broken = {
        (request.task_name, request.doc_id)
        for request, value in zip(requests, nats, strict=True)
        if not math.isfinite(value)
    }
    if broken:
        raise UserError(
            f"{len(broken):,} of {len(items):,} items have non-finite scores: "
            "the model is broken, and nothing was written"
        )
