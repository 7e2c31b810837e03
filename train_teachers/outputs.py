"""Losses on outputs, a chunk of positions at a time: a tensor of (positions, vocabulary) is never built whole.

The logits of a chunk are made, judged, turned into their gradient and forgotten; what stays are the gradients of the
hidden states and of the output matrix. So the gradient of one weighted total is formed in the forward pass: to have
that of each term in the backward pass, the logits would have to be made twice. Exact but for the order of the sums.

A student has several outputs where shallow layers have heads of their own: all are judged on one chunk, since what
stands beside them, such as the logits of a teacher, is then made once.

Shape suffixes: N positions, C positions of a chunk, V vocabulary, D width.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from train_teachers.language_model import through_head
from train_teachers.targets import IGNORE

# Logits of a chunk: 16 MB of float32 on a CPU, near its cache; on a GPU enough to keep it busy.
CPU_LOGITS, GPU_LOGITS = 2**22, 2**26


class Beside(Protocol):
    """What a loss on outputs needs beside the student's logits: something known at N positions."""

    def cast(self) -> "Beside":
        """In the number format of products here and now."""

    def part(self, start: int, stop: int) -> object:
        """Tensors (C, …) of the positions from `start` up to `stop`; zeros behind the last one."""

    def at(self, places_N: Tensor) -> "Beside":
        """Only the positions of these numbers."""


class Output(NamedTuple):
    """What the logits of N positions are made of: hidden_ND @ weight_VD.T + bias_V."""

    hidden_ND: Tensor
    """States behind the last norm."""
    weight_VD: Tensor
    bias_V: Tensor | None

    def part(self, start: int, stop: int) -> Tensor:
        """Logits (C, V)."""
        return F.linear(part_of(self.hidden_ND, start, stop), self.weight_VD, self.bias_V)

    def at(self, places_N: Tensor) -> "Output":
        """Only the positions of these numbers."""
        return self._replace(hidden_ND=self.hidden_ND[places_N])

    def of_entries(self, count: int) -> "Output":
        """Of the first `count` tokens of the vocabulary."""
        bias_V = None if self.bias_V is None else self.bias_V[:count]
        return Output(self.hidden_ND, self.weight_VD[:count], bias_V)

    def cast(self) -> "Output":
        """In the number format of products here and now, so that the matrix is converted once and not in each chunk."""
        kind = self.hidden_ND.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.hidden_ND.dtype
        return Output(*(part if part is None else part.to(dtype) for part in self))


class Logits(NamedTuple):
    """Logits that a model has made whole, since they are more than the product with its output matrix."""

    logits_NV: Tensor

    def part(self, start: int, stop: int) -> Tensor:
        """Logits (C, V)."""
        return part_of(self.logits_NV, start, stop)

    def at(self, places_N: Tensor) -> "Logits":
        """Only the positions of these numbers."""
        return Logits(self.logits_NV[places_N])

    def of_entries(self, count: int) -> "Logits":
        """Of the first `count` tokens of the vocabulary."""
        return Logits(self.logits_NV[:, :count])

    def cast(self) -> "Logits":
        """As they are."""
        return self


class Flags(NamedTuple):
    """Something that is or is not so at N positions, and is not so behind the last one."""

    flags_N: Tensor

    def part(self, start: int, stop: int) -> Tensor:
        """(C,) of the positions from `start` up to `stop`."""
        return part_of(self.flags_N, start, stop)

    def at(self, places_N: Tensor) -> "Flags":
        """Only the positions of these numbers."""
        return Flags(self.flags_N[places_N])

    def cast(self) -> "Flags":
        """As they are."""
        return self


def part_of(values_N: Tensor, start: int, stop: int, *, fill: int = 0) -> Tensor:
    """Rows `start` up to `stop` of a tensor; where there are no more, rows of `fill`."""
    part = values_N[start:stop]
    missing = stop - start - len(part)
    return part if not missing else torch.cat([part, part.new_full((missing, *part.shape[1:]), fill)])


def output_of(model: PreTrainedModel, final_ND: Tensor) -> Output:
    """The output of a model with a plain output matrix, from its final states."""
    head = model.get_output_embeddings()
    return Output(through_head(model, final_ND), head.weight, getattr(head, "bias", None))


def mean_of(outputs: Sequence[Output], shares_K: Tensor) -> Output:
    """The output whose logits are the mean of those of K others by their shares: their states side by side."""
    hidden_ND = torch.cat([o.hidden_ND * share for o, share in zip(outputs, shares_K, strict=True)], dim=1)
    biases = [share * o.bias_V for o, share in zip(outputs, shares_K, strict=True) if o.bias_V is not None]
    bias_V = torch.stack(biases).sum(0) if biases else None
    return Output(hidden_ND, torch.cat([o.weight_VD for o in outputs], dim=1), bias_V)


@torch.no_grad()
def has_plain_output(model: PreTrainedModel) -> bool:
    """Are a model's logits the product of its final states, behind the head of its family, and its output matrix,
    without a scale, a cap or another layer?
    """
    # the last entries: special tokens come first, and transformers warns of pads
    last = model.get_input_embeddings().weight.shape[0] - 1
    ids_BT = last - torch.arange(4, device=model.device)[None]
    made = model(input_ids=ids_BT, use_cache=False).logits
    final = getattr(model.base_model(input_ids=ids_BT, use_cache=False), "last_hidden_state", None)
    if final is None or model.get_output_embeddings() is None:
        return False
    output, most = output_of(model, final.flatten(0, 1)), float(made.abs().max())
    if output.hidden_ND.shape[1] != output.weight_VD.shape[1]:
        return False
    found = output.part(0, 4)
    if found.shape != made[0].shape or not math.isfinite(most):
        return False
    return torch.allclose(found, made[0], rtol=1e-3, atol=1e-3 * most)


Values = Callable[[dict[str, Tensor], dict[str, object], Tensor], dict[str, dict[str, Tensor]]]
"""From the logits (C, V) of each output, what is beside them by name, and the targets (C,): the values (C,) of the
terms by output, 0 where a term does not count. The terms of an output depend on no other."""


def judge(
    values: Values,
    weights: Mapping[str, Tensor],
    logits: dict[str, Tensor],
    beside: dict[str, object],
    targets_C: Tensor,
) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """The gradient on the logits of the total in which these terms have weights, and the sum of every term."""

    def total(logits: dict[str, Tensor]) -> tuple[Tensor, dict[str, dict[str, Tensor]]]:
        sums = sums_of(values(logits, beside, targets_C))
        totals = [weighted(terms, weights) for terms in sums.values()]
        return torch.stack(totals).sum(), sums

    return torch.func.grad(total, has_aux=True)(logits)


def look(
    values: Values, _: object, logits: dict[str, Tensor], beside: dict[str, object], targets_C: Tensor
) -> tuple[None, dict[str, dict[str, Tensor]]]:
    """As `judge` where nobody asks for a gradient: the sums alone."""
    return None, sums_of(values(logits, beside, targets_C))


def sums_of(values: dict[str, dict[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
    """Values (C,) of terms by output, summed."""
    return {
        output: {name: value_C.sum() for name, value_C in terms.items()} for output, terms in values.items()
    }


def weighted(sums: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """The sum of the terms that have a weight, times it."""
    parts = [
        weights[name] * value if name in weights else torch.zeros_like(value) for name, value in sums.items()
    ]
    return torch.stack(parts).sum()


class InChunks:
    """Judges outputs a chunk at a time.

    `positions`: how many a chunk has; None: by the size of the vocabulary, what suits the device.
    """

    def __init__(self) -> None:
        self.positions: int | None = None
        self.judge = judge

    def settle(self, positions: int, vocab_size: int, device: torch.device) -> None:
        """Cut batches of so many positions evenly, and all later ones into chunks of that size."""
        self.positions = chunk_size(positions, vocab_size, device)

    def compile(self) -> None:
        """Compile what is done to a chunk."""
        self.judge = torch.compile(judge, dynamic=False)

    def __call__(
        self,
        values: Values,
        weights: Mapping[str, Tensor],
        outputs: Mapping[str, Output],
        beside: Mapping[str, Beside],
        targets_N: Tensor,
        places_N: Tensor | None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """By output the total in which these terms have weights, with its gradient; the sum of every term, without.

        Over the target positions `places_N` (None: all), in float32 or better.
        """
        if places_N is not None:
            outputs = {name: output.at(places_N) for name, output in outputs.items()}
            beside = {name: part.at(places_N) for name, part in beside.items()}
            targets_N = targets_N[places_N]
        vocab_size = max(len(output.weight_VD) for output in outputs.values())
        size = self.positions or chunk_size(len(targets_N), vocab_size, targets_N.device)
        beside = {name: part.cast() for name, part in beside.items()}

        with_gradient = torch.is_grad_enabled()
        judge_chunks = self.judge if with_gradient else look

        def judge_chunk(logits: dict[str, Tensor], start: int):
            there = {name: part.part(start, start + size) for name, part in beside.items()}
            targets_C = part_of(targets_N, start, start + size, fill=IGNORE)
            return judge_chunks(values, weights, logits, there, targets_C)

        how = Chunks(judge_chunk, len(targets_N), size, weights, tuple(outputs), with_gradient)
        found: dict[str, Tensor] = {}
        tensors = [tensor for output in outputs.values() for tensor in output]
        totals = _InChunks.apply(how, found, *tensors)
        return dict(zip(outputs, totals.unbind(), strict=True)), found


class Chunks(NamedTuple):
    """How the outputs are gone through."""

    judge_chunk: Callable
    count: int
    """Positions."""
    size: int
    """Positions a chunk."""
    weights: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    with_gradient: bool


class _InChunks(torch.autograd.Function):
    """The parts of the outputs -> the weighted total of each (S,); puts the sums of the terms into `found`."""

    @staticmethod
    def forward(ctx, how: Chunks, found: dict[str, Tensor], *tensors: Tensor | None) -> Tensor:
        parts = [Output(*tensors[place : place + 3]) for place in range(0, len(tensors), 3)]
        outputs = {name: part.cast() for name, part in zip(how.outputs, parts, strict=True)}
        gradients = [Gradients.of(part) for part in parts] if how.with_gradient else []
        sums: dict[str, dict[str, Tensor]] = {}
        with torch.autocast(parts[0].hidden_ND.device.type, enabled=False):
            for start in range(0, max(1, how.count), how.size):  # without any target: one chunk of zeros
                logits = {name: output.part(start, start + how.size) for name, output in outputs.items()}
                of_logits, new = how.judge_chunk(logits, start)
                if sums:
                    new = {
                        output: {name: sums[output][name] + value for name, value in terms.items()}
                        for output, terms in new.items()
                    }
                sums = new
                for gradient, name in zip(gradients, how.outputs, strict=False):
                    gradient.add(of_logits[name], outputs[name], start)
        for terms in sums.values():
            found |= terms
        ctx.save_for_backward(*(tensor for gradient in gradients for tensor in gradient))
        return torch.stack([weighted(sums[name], how.weights) for name in how.outputs])

    @staticmethod
    @once_differentiable
    def backward(ctx, of_totals_S: Tensor):
        each = of_totals_S.repeat_interleave(3).unbind()
        return (
            None,
            None,
            *(
                tensor if tensor is None else tensor * factor
                for tensor, factor in zip(ctx.saved_tensors, each, strict=True)
            ),
        )


class Gradients(NamedTuple):
    """Of the total on what logits are made of."""

    hidden_ND: Tensor
    weight_VD: Tensor
    bias_V: Tensor | None

    @classmethod
    def of(cls, output: Output) -> "Gradients":
        """Room for them, in the number formats of the output's own parts."""
        return cls(*(part if part is None else torch.zeros_like(part) for part in output))

    def add(self, gradient_CV: Tensor, output: Output, start: int) -> None:
        """Those of a chunk that begins at position `start`."""
        hidden_CD = output.hidden_ND[start : start + len(gradient_CV)]
        gradient_CV = gradient_CV[: len(hidden_CD)]
        if hidden_CD.dtype == torch.float16:
            # the sums of a chunk have no loss scale yet, and may be too large for it
            gradient_CV, hidden_CD = gradient_CV.float(), hidden_CD.float()
            output = output._replace(weight_VD=output.weight_VD.float())
        self.hidden_ND[start : start + len(hidden_CD)] = gradient_CV @ output.weight_VD
        if self.weight_VD.dtype == hidden_CD.dtype:
            self.weight_VD.addmm_(gradient_CV.mT, hidden_CD)
        else:
            self.weight_VD.add_(gradient_CV.mT @ hidden_CD)
        if self.bias_V is not None:
            self.bias_V.add_(gradient_CV.sum(0, dtype=self.bias_V.dtype))


def chunk_size(positions: int, vocab_size: int, device: torch.device) -> int:
    """Positions a chunk, so that chunks of about the size that suits the device share `positions` evenly."""
    limit = CPU_LOGITS if device.type == "cpu" else GPU_LOGITS
    chunks = math.ceil(positions * vocab_size / limit)
    return max(1, math.ceil(positions / max(1, chunks)))
