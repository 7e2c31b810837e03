"""What several models say and hold at the same positions: each reads every passage once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from tqdm import tqdm
from transformers import PreTrainedModel

from eval.probe.passages import IGNORE, Passages

AT_A_TIME = 8  # passages


@dataclass
class Reading:
    """Of one model."""

    nats: list[np.ndarray] = field(default_factory=list)
    """-log p(target), a batch each."""
    confidence: list[np.ndarray] = field(default_factory=list)
    """Probability of the likeliest token."""
    likeliest: list[np.ndarray] = field(default_factory=list)
    states: list[list[np.ndarray]] = field(default_factory=list)
    """By batch and layer (0: embeddings), the hidden states at the sampled positions (P, D)."""
    from_teachers: dict[str, list[np.ndarray]] = field(default_factory=dict)
    """By teacher: KL(teacher | model) at each position, nats."""

    def layers(self) -> list[np.ndarray]:
        """The states of each layer at all sampled positions."""
        return [np.concatenate(parts) for parts in zip(*self.states, strict=True)]


@torch.inference_mode()
def read_all(
    models: Mapping[str, PreTrainedModel], teachers: list[str], passages: Passages, *, positions: int
) -> dict[str, Reading]:
    """All models read all passages side by side; states are kept at `positions` positions, the same for each."""
    found = {name: Reading() for name in models}
    asked = int((passages.targets_ST != IGNORE).sum())
    generator = np.random.default_rng(0)
    for ids_ST, targets_ST in tqdm(passages.batches(AT_A_TIME), desc="reading", disable=None, leave=False):
        asked_ST = targets_ST != IGNORE
        kept = max(1, round(positions * int(asked_ST.sum()) / asked))
        sample = np.sort(generator.choice(int(asked_ST.sum()), min(kept, int(asked_ST.sum())), replace=False))
        logprobs = {}
        for name, model in models.items():
            seen = model(input_ids=ids_ST.to(model.device), output_hidden_states=True)
            where_ST = asked_ST.to(model.device)
            logprobs_NV = seen.logits[where_ST].float().log_softmax(-1)
            logprobs[name], one = logprobs_NV, found[name]
            targets_N = targets_ST[asked_ST].to(model.device)
            one.nats.append(-logprobs_NV.gather(1, targets_N[:, None])[:, 0].cpu().numpy())
            best_N, index_N = logprobs_NV.max(-1)
            one.confidence.append(best_N.exp().cpu().numpy())
            one.likeliest.append(index_N.cpu().numpy())
            one.states.append([layer[where_ST][sample].float().cpu().numpy() for layer in seen.hidden_states])
        for teacher in teachers:
            for name, one in found.items():
                if name != teacher:
                    divergence_N = (logprobs[teacher].exp() * (logprobs[teacher] - logprobs[name])).sum(-1)
                    one.from_teachers.setdefault(teacher, []).append(divergence_N.cpu().numpy())
    return found
