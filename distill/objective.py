"""The whole training signal of a distillation on one screen.

    total = sum over terms of weight * term;   a term is a token mean: summed over target positions here, divided once
    in the loop. What looks at outputs sees a chunk of positions at a time. k runs over teachers; P projects student
    states h into the teacher's space; T is a temperature.

    hard                    cross-entropy with the target; of a hybrid hard.causal and hard.masked, each times its share
    z_loss                  (log of the softmax's normaliser)^2
    soft.k                  T^2 * D(softmax(teacher k / T), softmax(student / T)), D a divergence; or one `soft` for all
    heads                   share-weighted sum over shallow layers of (hard * CE + sum_k soft_k * T^2 * KL) of a head
    output_cosine.k         1 - cos(output of teacher k, output of the student)
    output_wasserstein.k    sum of the differences of the sorted probabilities
    hidden.k                mean over pairs of layers of |P h_student - h_teacher|^2 / width, or another distance
    attention.k             mean over pairs of blocks of the distance of the attention maps, averaged over heads
    contrastive.k           mean over pairs of InfoNCE(P h_student, h_teacher)
    wasserstein.k           mean over pairs of critic(h_teacher) - critic(P h_student); critics learn by themselves
    sliced_wasserstein.k    mean over pairs of a distance of the two sets of tokens; so sinkhorn.k
    ted.k                   mean over pairs of |P h_student - filter(h_teacher)|^2 / width; filters learn by themselves

Beside the terms, what has a layer in its name (`hidden.k@2-4`: teacher's layer 2, student's 4) is only logged.
Shape suffixes: B sequences, T positions, N = B * T, V vocabulary, D width, K teachers.
"""

import contextlib
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel

from distill import losses as L
from distill.config import DIVERGENCES_OF_CACHES, DistillConfig, Loss, Losses, PerTeacher, value
from distill.heads import head_loss_N, head_shares
from distill.layers import pairs_of
from distill.learners import Learners, descend
from distill.soft import divergences_KN, evidence_KN, soft_N
from distill.teachers import Signal, Signals, Teachers
from distill.transport import critic_distance_N, sinkhorn_divergence, sliced_wasserstein
from train_teachers.language_model import num_parameters, reading
from train_teachers.objective import CAUSAL, Objective, Terms, flags_of, hard_N, in_parts
from train_teachers.outputs import Beside, Flags, Output, mean_of, weighted
from train_teachers.targets import IGNORE, NEXT_TOKEN, Batch, Targets

REAL = "@"
"""Beside the teachers, whose names have no such letter: where there is a position at all."""
Comparison = Callable[..., Tensor]


def comparisons(on: Losses) -> dict[str, Comparison]:
    """How a loss compares student and teacher: f(student, teacher, is_target_N, critic or filter of the pair).

    Outputs come as logits (N, V), and without the last two; hidden states (N, D) projected, attention maps (N, T)
    averaged over heads. It returns a value per position, or one for the set of target positions, which then counts for
    each of them.
    """
    return {
        "output_cosine": lambda s, t: L.output_cosine_N(s, t, of=on.output_cosine.of),
        "output_wasserstein": lambda s, t: L.output_wasserstein_N(L.logprobs(t), L.logprobs(s)),
        "hidden": lambda s, t, *_: L.HIDDEN[on.hidden.distance](s, t),
        "attention": lambda s, t, *_: L.ATTENTION[on.attention.distance](s, t),
        "contrastive": lambda s, t, real, _: L.info_nce_N(s, t, real, temperature=on.contrastive.temperature),
        "wasserstein": lambda s, t, _, critic: critic_distance_N(critic, s, t),
        "sliced_wasserstein": lambda s, t, real, _: sliced_wasserstein(
            s, t, real, directions=on.sliced_wasserstein.directions
        ),
        "sinkhorn": lambda s, t, real, _: sinkhorn_divergence(
            s, t, real, points=on.sinkhorn.points, regularisation=on.sinkhorn.regularisation
        ),
        "ted": lambda s, t, _, filter_: L.mse_N(s, filter_(t)),
    }


class DistillObjective(Objective):
    """Owns projectors, heads, critics and filters: trained and checkpointed with the student, never exported."""

    def __init__(
        self,
        config: DistillConfig,
        teachers: Teachers,
        student: PreTrainedModel,
        targets: Targets = NEXT_TOKEN,
    ) -> None:
        super().__init__(targets)
        self.losses, self.seq_len, self.reads = config.losses, config.data.seq_len, config.reads
        soft, ted = self.losses.soft, self.losses.ted
        self.teachers = teachers
        self.sources = teachers.sources | config.controlled
        for folder, names in config.caches.items():
            cache, made = config.teachers[names[0]].cache, teachers.cached[names[0]].made
            known = DIVERGENCES_OF_CACHES[cache.kind][soft.divergence]
            self.notes.append(
                f"soft targets of {', '.join(names)} from {folder}, {cache.kind} {cache.count}, computed in "
                f"{made['precision']}: {soft.divergence} is {known}"
            )
        self.flops_per_token = sum(2.0 * num_parameters(model)[0] for model in teachers.models.values())
        if self.losses.attention:
            student.set_attn_implementation("eager")  # the only one that keeps its maps
        self.compare = {name: f for name, f in comparisons(self.losses).items() if name in self.losses.used}
        self.pairs = {
            name: {k: pairs_of(name, loss, k, teachers.models[k], student) for k in loss.weight}
            for name, loss in self.losses.layered.items()
        }
        self.compared_outputs = [name for name in self.compare if name not in self.pairs]
        self.everywhere = {
            name
            for name, loss in self.losses.used.items()
            if isinstance(loss, PerTeacher) and loss.at == "all"
        }
        """The losses that count at all positions."""
        self.learners = Learners(self.losses, self.pairs, student, teachers.models, self.reads)
        self.own_optimizers = self.learners.own_optimizers()
        # buffers, not numbers: what changes at every step must not make the compiler start again
        self.register_buffer("temperature", torch.tensor(1.0), persistent=False)
        self.register_buffer("shares_K", torch.ones(len(soft.weight) if soft else 0), persistent=False)
        self.register_buffer("one", torch.ones(()), persistent=False)
        # of causal and masked sequences: at targets, and at all positions
        self.register_buffer("of_kinds", torch.ones(2, 2), persistent=False)
        self.register_buffer("evidence_K", None, persistent=False)
        # schedules go one way, so a term is on at one of these moments if it ever is
        self.moments = tuple(self._distinct((0.0, ted.until, 1.0) if ted else (0.0, 1.0)))
        self.begin_step(0.0)

    def _distinct(self, moments: Iterable[float]) -> Iterator[float]:
        """The moments at which other terms are on than at the one before."""
        before = None
        for moment in moments:
            self.begin_step(moment)
            if self.active != before:
                yield moment
            before = self.active

    def begin_step(self, progress: float, *, every_term: bool = False) -> None:
        """Weights and temperature of this moment; a term of weight 0 is not computed, but for the hard loss.

        With `every_term` all are.
        """
        soft, ted, weights = self.losses.soft, self.losses.ted, {}
        for name, loss in self.losses.used.items():
            if isinstance(loss, PerTeacher):
                weights |= {
                    f"{name}.{k}": value(weight, progress) * self._share(k)
                    for k, weight in loss.weight.items()
                }
            elif name == "hard":
                weight = value(loss.weight, progress)
                weights |= {part: weight * share for part, share in self.targets.parts.items()}
            else:
                weights[name] = value(loss.weight, progress)
        if soft:
            self.temperature.fill_(value(soft.temperature, progress))
        if soft and soft.is_one_term:
            parts = [weights.pop(f"soft.{k}") for k in soft.weight]
            weights["soft"] = sum(parts)
            shares_K = torch.tensor(parts if any(parts) else [1.0] * len(parts))
            self.shares_K.copy_(shares_K / shares_K.sum(), non_blocking=True)
        self.filtering = ted is not None and progress < ted.until
        if self.filtering:  # until then there is nothing to match
            weights |= {name: 0.0 for name in weights if name.startswith("ted.")}
        self.active = frozenset(name for name, weight in weights.items() if weight > 0 or every_term)
        self.asked = {name: self._asked(name, loss) for name, loss in self.losses.used.items()}
        self.weigh(weights)

    def _share(self, teacher: str) -> float:
        """Of the sequences of a hybrid, those that a teacher is asked: what its terms count, as the hard loss does."""
        return self.targets.parts.get(f"hard.{self.reads.get(teacher)}", 1.0)

    def _asked(self, name: str, loss: Loss) -> list[str]:
        if isinstance(loss, PerTeacher):
            return [k for k in loss.weight if {name, f"{name}.{k}"} & self.active]
        return list(loss.soft) if name == "heads" and name in self.active else []

    def judged(self, sequences: int, length: int) -> int:
        """All, where a loss on outputs counts at all."""
        return sequences * length if self._outputs_everywhere else super().judged(sequences, length)

    @property
    def _outputs_everywhere(self) -> bool:
        return bool(self.everywhere - set(self.pairs))

    def counts(self, batch: Batch) -> dict[str, int]:
        """Of how many positions of a batch each term is a mean: those that count in it."""
        found, every = super().counts(batch), {"both": batch.inputs_BT.numel()}
        if batch.full_B is not None:
            every |= {reads: int(batch.asked_N(reads).sum()) for reads in ("causal", "masked")}
            of_sequences = dict(
                zip(self.targets.parts, torch.bincount(batch.full_B.int(), minlength=2).tolist(), strict=True)
            )
            self.of_kinds.copy_(
                torch.tensor([self._factors(found), self._factors(of_sequences)]), non_blocking=True
            )
        for name in found:
            reads, everywhere = self._counts_where(name)
            if everywhere:
                found[name] = every[reads]
            elif reads != "both":
                found[name] = found[f"hard.{reads}"]
        return found

    def _factors(self, counts: dict[str, int]) -> list[float]:
        """With what a value of each kind is multiplied, so that a mean over both is that of each, times its share."""
        parts = self.targets.parts
        total = sum(counts[name] for name in parts)
        return [share * total / max(1, counts[name]) for name, share in parts.items()]

    def _counts_where(self, term: str) -> tuple[str, bool]:
        """In sequences that are read how a term counts, and whether at all their positions."""
        loss, _, teacher = term.partition(".")
        if loss == "soft" and not teacher:
            teacher = next(iter(self.losses.soft.weight))
        reads = self.reads.get(teacher, "both") if "hard.causal" in self.targets.parts else "both"
        return reads, loss in self.everywhere

    @property
    def frozen(self) -> list[PreTrainedModel]:
        """The teachers."""
        return list(self.teachers.models.values())

    def forward(self, student: PreTrainedModel, batch: Batch) -> Terms:
        """The terms of one micro-batch."""
        see = self.see(student, batch, {k for teachers in self.asked.values() for k in teachers})
        total, sums = self.outputs(see)
        for name in self.pairs:
            terms, each = self.layers(name, see)
            total = total + weighted(terms, self.counted) if terms else total
            sums |= {name: value.detach() for name, value in (terms | each).items()}
        return Terms(total, sums)

    def see(self, student: PreTrainedModel, batch: Batch, teachers: Container[str]) -> Signals:
        """One forward pass of the student and of each of `teachers`."""
        states = bool(set(self.pairs) - {"attention"} or self.losses.heads)
        maps = self.losses.attention is not None
        body, targets_N = partial(self.body, student=student), batch.targets_BT.flatten()
        mine = Signal.of(student, body(student), reading(student, batch), hidden=states, attention=maps)
        theirs = self.teachers(batch, teachers, body)
        return Signals(mine, theirs, targets_N, batch.places_N, flags_of(batch))

    # --- outputs, a chunk of positions at a time ----------------------------------------------------------------

    def outputs(self, see: Signals) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted total of all that is asked of outputs, with its gradient; the sums of the terms, without."""
        loss, counted = self.losses.heads, self.counted
        outputs = {"student": see.student.output}
        if "heads" in self.active:
            states = see.student.hidden_ND
            outputs |= {f"heads@{n}": head(states[int(n)]) for n, head in self.learners.heads.items()}
            counted |= {name: self.one for name in outputs if name != "student"}
        places_N = None if self._outputs_everywhere else see.places_N
        beside = self.targets_of(see)
        if self._outputs_everywhere:
            beside[REAL] = Flags(torch.ones_like(see.targets_N, dtype=torch.bool))
        given = (beside | see.asked, see.targets_N, places_N)
        if self.asked.get("soft") and self.losses.soft.looks_at_micro_batch:
            with torch.no_grad():
                _, found = self.in_chunks(self.evidence, {}, {"student": see.student.output}, *given)
            reads, everywhere = self._counts_where("soft")
            counts_N = see.counting_N(reads, everywhere=everywhere)
            self.evidence_K = torch.stack(list(found.values())) / counts_N.sum().clamp_min(1)
        totals, sums = self.in_chunks(self.output_terms, counted, outputs, *given)
        total = totals.pop("student")
        if totals:
            totals_H = torch.stack(list(totals.values()))
            heads = (head_shares(totals_H, adaptive=loss.adaptive) * totals_H).sum()
            sums["heads"] = heads.detach()
            total = total + counted["heads"] * heads if "heads" in counted else total
        return total, sums

    def targets_of(self, see: Signals) -> dict[str, Beside]:
        """What outputs are compared with, by the teacher's name; several in one, by that of the first."""
        alone = {k for name in ("heads", *self.compared_outputs) for k in self.asked.get(name, ())}
        soft = self.asked.get("soft", [])
        outputs = {k: signal.output for k, signal in see.teachers.items() if k in alone.union(soft)}
        if len(soft) > 1 and not alone and self.losses.soft.combine == "mean_logits":
            parts = [outputs[k] for k in soft if isinstance(outputs.get(k), Output)]
            if len(parts) == len(soft):
                return {soft[0]: mean_of(parts, self.shares_K)}
        return outputs

    def output_terms(
        self, logits: dict[str, Tensor], beside: dict[str, Tensor], targets_C: Tensor
    ) -> dict[str, dict[str, Tensor]]:
        """The values of every term on the logits (C, V) of the student and of its heads, beside those of teachers."""
        student_CV = logits["student"]
        hard_C = hard_N(student_CV, targets_C, label_smoothing=self.losses.hard.label_smoothing)
        terms = in_parts(hard_C, beside)
        if "z_loss" in self.active:
            terms["z_loss"] = L.z_loss_N(student_CV)
        # of teachers that were made into one target there may be that alone, by the name of the first
        if soft := {k: beside[k] for k in self.asked.get("soft", ()) if k in beside}:
            terms |= soft_N(
                self.losses.soft,
                student_CV,
                soft,
                targets_C,
                self.temperature,
                self.shares_K,
                self.seq_len,
                self.evidence_K,
            )
        for name in self.compared_outputs:
            terms |= {f"{name}.{k}": self.compare[name](student_CV, beside[k]) for k in self.asked[name]}
        found = {"student": self._counting(terms, beside, targets_C)}
        if loss := self.losses.heads if "heads" in self.active else None:
            soft = {k: L.logprobs(beside[k], loss.temperature) for k in loss.soft}
            for name in (name for name in logits if name != "student"):
                of_head = {name: head_loss_N(logits[name], targets_C, soft, loss)}
                found[name] = self._counting(of_head, beside, targets_C)
        return found

    def _counting(
        self, terms: dict[str, Tensor], beside: dict[str, Tensor], targets_C: Tensor
    ) -> dict[str, Tensor]:
        """The values of terms where they count, and 0 elsewhere."""
        has_target_C, found = targets_C != IGNORE, {}
        for name, value_C in terms.items():
            reads, everywhere = self._counts_where(name)
            counts_C = beside[REAL] if everywhere else has_target_C
            if CAUSAL in beside and reads != "both":
                counts_C = counts_C & beside[f"@{reads}"]
            elif CAUSAL in beside and not name.startswith("hard."):
                value_C = value_C * torch.where(beside[CAUSAL], *self.of_kinds[int(everywhere)])
            found[name] = torch.where(counts_C, value_C, 0.0)
        return found

    def evidence(
        self, logits: dict[str, Tensor], teachers: dict[str, Tensor], targets_C: Tensor
    ) -> dict[str, dict[str, Tensor]]:
        """What decides, as a mean over the micro-batch, how much each teacher counts."""
        loss, soft = self.losses.soft, {k: teachers[k] for k in self.asked.get("soft", ())}
        values_KC = divergences_KN(loss, logits["student"], soft, self.temperature, self.seq_len)
        terms = {
            f"soft.{k}": value
            for k, value in zip(soft, evidence_KN(loss, values_KC, soft, targets_C), strict=True)
        }
        return {"student": self._counting(terms, teachers, targets_C)}

    # --- layers ---------------------------------------------------------------------------------------------------

    def layers(self, name: str, see: Signals) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A term per teacher that compares layers, the mean over its pairs; and each pair's value."""
        kind = "attention_NT" if name == "attention" else "hidden_ND"
        everywhere = name in self.everywhere
        totals: dict[str, list[Tensor]] = {}
        each: dict[str, Tensor] = {}
        for place in self.learners.places[name]:
            if (term := f"{name}.{place.teacher}") not in self.active:
                continue
            mine = place.project(getattr(see.student, kind)[place.pair.student])
            theirs = getattr(see.teachers[place.teacher], kind)[place.pair.teacher]
            counts_N = see.counting_N(place.reads, everywhere=everywhere)
            values = self.compare[name](mine, theirs, counts_N, place.learner)
            values_N = values.expand(len(mine))
            if see.asked and place.reads == "both":
                values_N = values_N * torch.where(see.asked[CAUSAL].flags_N, *self.of_kinds[int(everywhere)])
            total = torch.where(counts_N, values_N, 0.0).sum()
            totals.setdefault(term, []).append(total)
            each[f"{name}.{place.label}"] = total
        return {term: torch.stack(parts).mean() for term, parts in totals.items()}, each

    # --- what learns by itself ----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def learning(
        self, student: PreTrainedModel, batch: Batch
    ) -> Iterator[dict[str, Callable[[], dict[str, Tensor]]]]:
        """Critics and filters unfrozen, and their losses on the batch by kind: in float32, outside of autocast."""
        kinds: dict[str, Callable[[], dict[str, Tensor]]] = {}
        teachers: set[str] = set()
        if active := self.asked.get("wasserstein"):
            kinds["critics"] = lambda: self.learners.critic_losses(see)
            teachers |= set(active)
        if self.filtering:
            kinds["filters"] = lambda: self.learners.filter_losses(see, self.in_chunks)
            teachers |= set(self.losses.ted.weight)
        if kinds:
            with torch.no_grad():
                see = self.see(student, batch, teachers)
        parameters = [p for kind in kinds for p in self.learners.get_submodule(kind).parameters()]
        for parameter in parameters:
            parameter.requires_grad_(True)
        with torch.autocast(batch.inputs_BT.device.type, enabled=False):
            yield kinds
        for parameter in parameters:
            parameter.requires_grad_(False)

    def train_own(self, student: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        """Critics before each step of the student; filters in the first part of the run. Their losses."""
        last: dict[str, Tensor] = {}
        with self.learning(student, batch) as kinds:
            for kind, losses in kinds.items():
                for _ in range(self.losses.wasserstein.critic_steps if kind == "critics" else 1):
                    found = losses()
                    descend(found, self.own_optimizers[kind])
                last |= {name: loss.detach() for name, loss in found.items()}
        return last
