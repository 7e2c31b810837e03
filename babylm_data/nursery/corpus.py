"""The nursery: a corpus of simple child-directed English that the kit writes itself, and minimal pairs.

A seeded probabilistic grammar. `LINES` are the constructions of its text, `PARADIGMS` those of its minimal
pairs, and both are spoken by a `Voice`, which decides which content words may meet. A combination of a verb
with its subject or object, of an adjective with its noun, or of a container with its content is either free
for the text or reserved for the pairs: a pair asks for grammar, never for a memory of the text. Nor can the
counts of words answer it (see `pairs`).

The nursery is there to try and to test the kit. No claim about English rests on it.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import TypeVar

from babylm_data.nursery.lexicon import NOUNS
from babylm_data.nursery.lines import LINES
from babylm_data.nursery.pairs import (
    Pairs,
    adjunct_island,
    anaphor_gender,
    anaphor_number,
    animate_subject,
    any_scope,
    binding_domain,
    determiner_noun,
    do_support,
    ever_scope,
    existential_there,
    inversion_over_relative,
    irregular_participle,
    passive_transitivity,
    quantifier_number,
    question_inversion,
    subject_verb,
    wh_object_gap,
    wh_or_that,
)
from babylm_data.nursery.voice import (
    NoFit,
    Voice,
    object_relative,
    prepositional,
    sentence,
    stacked,
    subject_relative,
)

HELD_OUT_WORDS = 15_000  # whitespace words of dev and of test, each
PAIRS_PER_PARADIGM = 200
# how many nouns of each kind a scene is about
CAST = {"name": 3, "person": 3, "animal": 3, "thing": 4, "food": 3, "container": 2, "place": 1}

_SUBJECT_VERB = ("morphology", "subject_verb_agreement")
_DETERMINER_NOUN = ("morphology", "determiner_noun_agreement")
_ANAPHOR = ("morphology", "anaphor_agreement")
_BINDING = ("syntax_semantics", "binding")
_VERB_FORMS = ("morphology", "verb_forms")
_ARGUMENTS = ("syntax", "argument_structure")
_FILLER_GAP = ("syntax", "filler_gap_dependency")
_ISLANDS = ("syntax", "island_effects")
_NPI = ("semantics", "npi_licensing")
_QUANTIFIERS = ("semantics", "quantifiers")
_INVERSION = ("syntax", "subject_auxiliary_inversion")

# UID: (field, linguistics_term, function)
PARADIGMS: dict[str, tuple[str, str, Callable[[Voice], Pairs]]] = {
    "subject_verb": (*_SUBJECT_VERB, subject_verb),
    "subject_verb_prepositional": (*_SUBJECT_VERB, partial(subject_verb, modifier=prepositional)),
    "subject_verb_subject_relative": (*_SUBJECT_VERB, partial(subject_verb, modifier=subject_relative)),
    "subject_verb_object_relative": (*_SUBJECT_VERB, partial(subject_verb, modifier=object_relative)),
    "subject_verb_stacked": (*_SUBJECT_VERB, partial(subject_verb, modifier=stacked)),
    "determiner_noun": (*_DETERMINER_NOUN, determiner_noun),
    "determiner_noun_adjective": (*_DETERMINER_NOUN, partial(determiner_noun, adjective=True)),
    "determiner_noun_irregular": (*_DETERMINER_NOUN, partial(determiner_noun, irregular=True)),
    "anaphor_gender": (*_ANAPHOR, anaphor_gender),
    "anaphor_number": (*_ANAPHOR, anaphor_number),
    "binding_c_command": (*_BINDING, partial(anaphor_number, attractor=True)),
    "binding_domain": (*_BINDING, binding_domain),
    "irregular_participle": (*_VERB_FORMS, irregular_participle),
    "do_support": (*_VERB_FORMS, do_support),
    "passive_transitivity": (*_ARGUMENTS, passive_transitivity),
    "animate_subject": (*_ARGUMENTS, animate_subject),
    "wh_or_that": (*_FILLER_GAP, wh_or_that),
    "wh_object_gap": (*_FILLER_GAP, wh_object_gap),
    "adjunct_island": (*_ISLANDS, adjunct_island),
    "any_scope": (*_NPI, any_scope),
    "ever_scope": (*_NPI, ever_scope),
    "quantifier_number": (*_QUANTIFIERS, quantifier_number),
    "existential_there": (*_QUANTIFIERS, existential_there),
    "question_inversion": (*_INVERSION, question_inversion),
    "inversion_over_relative": (*_INVERSION, inversion_over_relative),
}

Said = TypeVar("Said", str, Pairs)


def spoken(v: Voice, speak: Callable[[Voice], Said]) -> Said:
    """What `speak` says, with new nouns; where the words drawn leave nothing to say, another try."""
    while True:
        v.mentioned = []
        try:
            return speak(v)
        except NoFit:
            continue


def scene(rng: Random) -> str:
    """A document of 4 to 12 lines about one small cast."""
    cast = [n for kind, size in CAST.items() for n in rng.sample([n for n in NOUNS if n.kind == kind], size)]
    voice = Voice(rng, pairs=False, cast=cast)
    lines = rng.choices(list(LINES), weights=list(LINES.values()), k=rng.randint(4, 12))
    return "".join(sentence(spoken(voice, line)) + "\n" for line in lines)


def write_text(path: Path, rng: Random, *, words: int) -> None:
    """Scenes, one blank line apart, until there are `words` whitespace words."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        while written < words:
            document = scene(rng)
            file.write(("\n" if written else "") + document)
            written += len(document.split())


def pairs_of(uid: str, rng: Random) -> Pairs:
    """The pairs of one paradigm: mirror images stand side by side, nothing occurs twice."""
    voice, pairs = Voice(rng, pairs=True), {}
    while len(pairs) < PAIRS_PER_PARADIGM:
        new = [(sentence(good), sentence(bad)) for good, bad in spoken(voice, PARADIGMS[uid][2])]
        if not any(pair in pairs for pair in new):  # half of a mirrored two would tip the balance
            pairs |= dict.fromkeys(new)
    return list(pairs)


def write_pairs(path: Path, uid: str, rng: Random) -> None:
    """One paradigm as JSON lines with BLiMP's own fields."""
    field, term, _ = PARADIGMS[uid]
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        for number, (good, bad) in enumerate(pairs_of(uid, rng)):
            row = {
                "sentence_good": good,
                "sentence_bad": bad,
                "field": field,
                "linguistics_term": term,
                "UID": uid,
                "simple_LM_method": True,
                "one_prefix_method": False,
                "two_prefix_method": False,
                "lexically_identical": sorted(good.split()) == sorted(bad.split()),
                "pair_id": number,
            }
            file.write(json.dumps(row) + "\n")


def write_nursery(folder: Path, *, seed: int = 0, words: int = 25_000) -> None:
    """Write `raw/{train,dev,test}/nursery.*`, `words` whitespace words of train, and the minimal pairs."""
    folder = Path(folder)
    for split, size in (("train", words), ("dev", HELD_OUT_WORDS), ("test", HELD_OUT_WORDS)):
        write_text(folder / "raw" / split / f"nursery.{split}", Random(f"{seed} {split}"), words=size)
    pairs = folder / "evaluation_data" / "full_eval" / "nursery"
    pairs.mkdir(parents=True, exist_ok=True)
    for uid in PARADIGMS:
        write_pairs(pairs / f"{uid}.jsonl", uid, Random(f"{seed} {uid}"))
