"""A causal model that writes on from a text."""

from dataclasses import dataclass

import torch

from babylm_data.errors import UserError
from babylm_data.models import longest_input
from eval.scorer.model import find_model, load_for_scoring
from eval.tasks.perplexity import start_token


@dataclass(frozen=True)
class Manner:
    """How a text goes on."""

    tokens: int
    """At most so many are written."""
    temperature: float = 0.8
    """Divides the logits; 0: always the likeliest token."""
    top_p: float = 0.95
    """Drawn is among the likeliest tokens that hold this share of the mass."""
    seed: int = 0


class Writer:
    """One model, loaded."""

    def __init__(self, model: str, device: str = "auto") -> None:
        self.name = model
        self.model, self.tokenizer = load_for_scoring(find_model(model), device=device)

    def __call__(self, prompt: str, manner: Manner) -> str:
        """The prompt and what the model writes behind it, up to an end mark; the same seed gives the same text."""
        ids = [start_token(self.tokenizer), *self.tokenizer(prompt, add_special_tokens=False)["input_ids"]]
        longest = longest_input(self.model)
        room = longest - len(ids) if longest else manner.tokens
        if room < 1:
            raise UserError(f"{self.name} reads {longest} tokens, and the prompt has {len(ids)}: shorten it")
        draws = {"do_sample": True, "temperature": manner.temperature, "top_p": manner.top_p, "top_k": 0}
        torch.manual_seed(manner.seed)
        input_ids = torch.tensor([ids], device=self.model.device)
        with torch.inference_mode():
            written = self.model.generate(
                input_ids=input_ids,
                attention_mask=torch.ones_like(input_ids),
                max_new_tokens=min(manner.tokens, room),
                eos_token_id=self.tokenizer.eos_token_id,
                pad_token_id=self.tokenizer.pad_token_id or self.tokenizer.eos_token_id,
                **(draws if manner.temperature else {"do_sample": False}),
            )[0]
        return self.tokenizer.decode(written[1:], skip_special_tokens=True)
