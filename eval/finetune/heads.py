"""What stands on the backbone: a sequence classifier that reads one token, and an extractor of answer spans.

Both take the plain backbone (`AutoModel`) of any family and pool by the attention mask. The library's
`…ForSequenceClassification` would pool for each family in another way, find the last token of a causal
model by the pad token's id (and with a pad token that also ends texts find another one), and cannot read
the first token of a causal model, as the official program does.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DROPOUT = 0.1


def pool_tokens(hidden: Tensor, mask: Tensor, how: str) -> Tensor:
    """(B, T, D) hidden states of right-padded rows, (B, T) mask -> (B, D): last real token, first, or mean."""
    if how == "first":
        return hidden[:, 0]
    if how == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def label_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy in nats of (B, labels) logits; `targets` (B, 1) are the labels."""
    return F.cross_entropy(logits.float(), targets[:, 0])


def span_loss(ends: tuple[Tensor, Tensor], targets: Tensor) -> Tensor:
    """Mean of the cross-entropies, in nats, of (B, T) logits of first and of last token; `targets` (B, 2): places."""
    start, end = ends
    return (F.cross_entropy(start, targets[:, 0]) + F.cross_entropy(end, targets[:, 1])) / 2


def official_head(width: int, labels: int) -> nn.Sequential:
    """The head of the challenge's program: its layer norms have no weights of their own."""
    return nn.Sequential(
        nn.LayerNorm(width, eps=1e-5, elementwise_affine=False),
        nn.Linear(width, width),
        nn.GELU(),
        nn.LayerNorm(width, eps=1e-5, elementwise_affine=False),
        nn.Dropout(DROPOUT),
        nn.Linear(width, labels),
    )


def plain_head(width: int, labels: int) -> nn.Sequential:
    """Dropout and one matrix."""
    return nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(width, labels))


class Classifier(nn.Module):
    """Backbone, pooling and head: texts -> logits of their labels."""

    def __init__(self, backbone: nn.Module, *, labels: int, head: str, pool: str) -> None:
        super().__init__()
        make = official_head if head == "official" else plain_head
        self.backbone, self.pool = backbone, pool
        self.head = make(backbone.config.hidden_size, labels)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        """Arguments of the backbone -> (B, labels) logits."""
        hidden = self.backbone(**inputs).last_hidden_state
        return self.head(pool_tokens(hidden, inputs["attention_mask"], self.pool))

    def loss(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats; `targets` (B, 1) are the labels."""
        return label_loss(self(inputs), targets)


class SpanExtractor(nn.Module):
    """Backbone and one matrix: every token's logits of being the first and the last of the answer."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.hidden_size, 2)

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Arguments of the backbone -> logits of first and last token, (B, T) each, padding at minus infinity."""
        logits = self.head(self.backbone(**inputs).last_hidden_state).float()
        padding = inputs["attention_mask"].unsqueeze(-1) == 0
        start, end = logits.masked_fill(padding, -torch.inf).unbind(dim=-1)
        return start, end

    def loss(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        """Mean of the two cross-entropies in nats; `targets` (B, 2) are the places of first and last token."""
        return span_loss(self(inputs), targets)
