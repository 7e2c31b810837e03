"""Muon (Jordan et al. 2024) on stacks: the matrices of one shape are orthogonalised together, in batched products.

torch.optim.Muon takes one matrix at a time and always in bfloat16: some twenty kernels a matrix on a GPU, and emulated
on a processor that has no such numbers. Here the number format is given, and several processes share the work.

Shape suffixes: K matrices of a stack, M rows, N columns, M <= N.
"""

import math
from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor, distributed

from train_teachers.sharding import part_of, whole

# Numbers worked on at a time by a process: on a CPU what its cache likes; on a GPU what keeps it busy and little.
CPU_NUMBERS, GPU_NUMBERS = 2**18, 2**26
NEURON_BETA, NEURON_EPS = 0.95, 1e-8  # of NorMuon's running mean, as in its paper
WIDE = 1.5  # N / M from which the iteration on (M, M) is the cheaper one: 4 N + 34 M against 20 N + 10 M, times M^2


class Muon(torch.optim.Muon):
    """torch.optim.Muon(adjust_lr_fn="match_rms_adamw"), its options and its state; only the arithmetic is ours.

    One learning rate serves it and AdamW (Liu et al. 2025). `dtype` is the number format of the products. While
    `found_inf` is a tensor other than 0, as a gradient scaler would set it, a step changes nothing; the tensor is not
    looked at, so that nobody waits for the device.

    A group with `neurons` (0: its matrices have a neuron a row, as nn.Linear has; 1: a column) is NorMuon's
    (Li et al. 2025): each neuron's part of an update is divided by the root of a running mean of its squares.
    """

    def __init__(self, params, *, dtype: torch.dtype, **options) -> None:
        super().__init__(params, adjust_lr_fn="match_rms_adamw", **options)
        self.dtype = dtype
        self.found_inf: Tensor | None = None

    @torch.no_grad()
    def step(self) -> None:
        """One step on every parameter that has a gradient."""
        for group in self.param_groups:
            params, grads, momenta = [], [], []
            self._init_group(group, params, grads, momenta)
            for part in _parts(params, mixed=group.get("neurons") is None):
                self._step_on(group, *([tensors[i] for i in part] for tensors in (params, grads, momenta)))

    def _step_on(self, group: dict, params: list[Tensor], grads: list[Tensor], momenta: list[Tensor]) -> None:
        """Momentum, decay and update of matrices that are alike but for their orientation."""
        lr = group["lr"]
        if self.found_inf is not None:
            bad = self.found_inf != 0
            grads = [torch.where(bad, *both) for both in zip(momenta, grads, strict=True)]
            lr = torch.where(bad, 0.0, lr)
        torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
        directions = torch._foreach_lerp(grads, momenta, group["momentum"]) if group["nesterov"] else momenta
        updates_KMN = _shared(
            [whole(each) for each in directions], lambda stack: self._orthogonal(stack, group)
        )
        if group.get("neurons") is not None:
            updates_KMN = self._per_neuron(updates_KMN, params, group["neurons"])
        scale = 0.2 * math.sqrt(max(params[0].shape))  # makes the update as large as AdamW's
        updates_KMN = updates_KMN * (-lr * scale)
        updates = [
            part_of(update if update.shape == param.shape else update.mT, param)
            for update, param in zip(updates_KMN, params, strict=True)
        ]
        torch._foreach_mul_(params, 1 - lr * group["weight_decay"])
        torch._foreach_add_(params, updates)

    def _per_neuron(self, updates_KMN: Tensor, params: list[Tensor], neurons: int) -> Tensor:
        """The stack with neurons of one size as their history has it, and of the norm of an orthogonal matrix."""
        rows, columns = params[0].shape
        others = 1 + ((1 - neurons) ^ (rows > columns))  # the stack is never taller than wide
        powers = updates_KMN.square().mean(others)
        history = [self.state[p].setdefault("second_moment", torch.zeros_like(powers[0])) for p in params]
        if self.found_inf is not None:
            powers = torch.where(self.found_inf != 0, torch.stack(history), powers)
        torch._foreach_lerp_(history, list(powers.unbind()), 1 - NEURON_BETA)
        updates_KMN = updates_KMN / (torch.stack(history).sqrt() + NEURON_EPS).unsqueeze(others)
        norms_K11 = updates_KMN.norm(dim=(1, 2), keepdim=True).clamp_min(NEURON_EPS)
        return updates_KMN * (math.sqrt(min(rows, columns)) / norms_K11)

    def _orthogonal(self, stack_KMN: Tensor, group: dict) -> Tensor:
        """The stack with its singular values near 1, in its own number format."""
        norms_K11 = stack_KMN.norm(dim=(1, 2), keepdim=True).clamp_min(group["eps"])
        unit_KMN = (stack_KMN / norms_K11).to(self.dtype)
        iterate = newton_schulz
        if self.dtype.itemsize >= 4 and stack_KMN.shape[2] >= WIDE * stack_KMN.shape[1]:
            iterate = newton_schulz_by_gram
        return iterate(unit_KMN, group["ns_coefficients"], group["ns_steps"]).to(stack_KMN.dtype)


def newton_schulz(x_KMN: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """`steps` times x <- a x + (b A + c A^2) x with A = x x^T, which draws the singular values towards 1."""
    a, b, c = coefficients
    for _ in range(steps):
        gram_KMM = torch.bmm(x_KMN, x_KMN.mT)
        x_KMN = torch.baddbmm(
            x_KMN, torch.baddbmm(gram_KMM, gram_KMM, gram_KMM, beta=b, alpha=c), x_KMN, beta=a
        )
    return x_KMN


def newton_schulz_by_gram(x_KMN: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """The same polynomial of x, formed on (M, M): x <- Q x has the Gram matrix Q A Q, so x itself is not needed.

    For float32 and better: what rounding does to the smallest eigenvalues of A grows up to (a^2)-fold a step.
    """
    a, b, c = coefficients
    gram_KMM = torch.bmm(x_KMN, x_KMN.mT)
    product_KMM = None
    for step in range(steps):
        q_KMM = torch.baddbmm(gram_KMM, gram_KMM, gram_KMM, beta=b, alpha=c)
        q_KMM.diagonal(dim1=1, dim2=2).add_(a)
        product_KMM = q_KMM if product_KMM is None else torch.bmm(q_KMM, product_KMM)
        if step < steps - 1:
            gram_KMM = torch.bmm(torch.bmm(q_KMM, gram_KMM), q_KMM)
    return x_KMN if product_KMM is None else torch.bmm(product_KMM, x_KMN)


def _shared(matrices: list[Tensor], compute) -> Tensor:
    """`compute` on the matrices as a stack (K, M, N), each process taking its share of them."""
    rank, world = 0, 1
    if distributed.is_initialized():
        rank, world = distributed.get_rank(), distributed.get_world_size()
    share = math.ceil(len(matrices) / world)
    # the last processes may have none left and work on another's, so that all send equally much
    mine = [matrices[min(place, len(matrices) - 1)] for place in range(rank * share, (rank + 1) * share)]
    found_KMN = compute(torch.stack([m.mT if m.shape[0] > m.shape[1] else m for m in mine]))
    if world == 1:
        return found_KMN
    every = found_KMN.new_empty(world * share, *found_KMN.shape[1:])
    gather = (
        getattr(distributed, "all_gather_single", None) or distributed.all_gather_into_tensor
    )  # before torch 2.13
    gather(every, found_KMN.contiguous())
    return every[: len(matrices)]


def _parts(params: list[Tensor], mixed: bool) -> Iterator[list[int]]:
    """Places of parameters with one shape, as many at a time as all processes work on; `mixed`: up to orientation."""
    alike = defaultdict(list)
    for place, param in enumerate(params):
        shape = tuple(sorted(param.shape) if mixed else param.shape)
        alike[(shape, param.device, param.dtype)].append(place)
    world = distributed.get_world_size() if distributed.is_initialized() else 1
    for (shape, device, _), places in alike.items():
        numbers = CPU_NUMBERS if device.type == "cpu" else GPU_NUMBERS
        turns = math.ceil(len(places) / (world * max(1, numbers // math.prod(shape))))
        for turn in range(turns):  # of one length or nearly so
            yield places[len(places) * turn // turns : len(places) * (turn + 1) // turns]
