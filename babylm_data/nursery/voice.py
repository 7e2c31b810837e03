"""The voice of the nursery: draws words that may stand together, and the building blocks it speaks with.

What holds for every block: `v` is the voice, `number` is 0 for singular and 1 for plural.
"""

import re
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from random import Random

from babylm_data.nursery.lexicon import (
    ACTIVE,
    ANIMATE,
    BE,
    COMMON,
    DETERMINERS,
    LOOKS,
    NOUNS,
    PREPOSITIONS,
    STATES,
    TIMES,
    TRANSITIVE,
    Forms,
    Noun,
    Verb,
)

RESERVED_ONE_IN = 5  # this share of the combinations never occurs in the text


class NoFit(LookupError):
    """The words drawn so far leave none to go on with. Whoever began the sentence begins again."""


@cache
def reserved(role: str, head: str, dependent: str) -> bool:
    """Whether a combination of two lemmas is kept for the pairs: a hash, the same for every seed."""
    return zlib.crc32(f"{role} {head} {dependent}".encode()) % RESERVED_ONE_IN == 0


class Voice:
    """Draws words that may stand together: the free combinations for text, the reserved ones for pairs."""

    def __init__(self, rng: Random, *, pairs: bool, cast: Sequence[Noun] = NOUNS):
        self.rng, self.pairs, self.cast = rng, pairs, cast
        self.mentioned: list[Noun] = []  # no noun twice in a sentence

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, options: Sequence):
        if not options:
            raise NoFit
        return self.rng.choice(options)

    def fits(self, role: str, head: str, noun: Noun) -> bool:
        return reserved(role, head, noun.lemma) == self.pairs

    def takes(self, verb: Verb, subject: Noun | None = None, direct: Noun | None = None) -> bool:
        """Whether `verb` goes with this subject and this object, by kind and by reservation."""
        if subject and not (subject.kind in verb.subjects and self.fits("subject", verb.lemma, subject)):
            return False
        return not direct or (direct.kind in verb.objects and self.fits("object", verb.lemma, direct))

    def noun(self, suits: Callable[[Noun], bool]) -> Noun:
        """A noun of the cast, or of the whole lexicon where the cast has none that suits."""
        new = [n for n in self.cast if n not in self.mentioned and suits(n)]
        chosen = self.pick(new or [n for n in NOUNS if n not in self.mentioned and suits(n)])
        self.mentioned.append(chosen)
        return chosen

    def of_kind(self, *kinds: str) -> Noun:
        return self.noun(lambda n: n.kind in kinds)

    def subject(self, *verbs: Verb, kinds: Sequence[str] = ANIMATE, pronoun: str = "") -> Noun:
        """Someone who can do all of `verbs`."""

        def suits(noun: Noun) -> bool:
            right_kind = noun.kind in kinds and pronoun in ("", noun.pronoun)
            return right_kind and all(self.takes(v, subject=noun) for v in verbs)

        return self.noun(suits)

    def direct(self, *verbs: Verb, names: bool = True) -> Noun:
        """The direct object: someone or something to which all of `verbs` can be done."""

        def suits(noun: Noun) -> bool:
            return (names or noun.kind != "name") and all(self.takes(v, direct=noun) for v in verbs)

        return self.noun(suits)

    def verb(self, among: Sequence[Verb], subject: Noun | None = None, direct: Noun | None = None) -> Verb:
        return self.pick([v for v in among if self.takes(v, subject, direct)])

    def look(self, noun: Noun) -> str:
        """An adjective to stand before the noun."""
        return self.pick([a for a in LOOKS[noun.kind] if self.fits("adjective", a, noun)])

    def state(self, noun: Noun) -> str:
        """An adjective to stand after "is"."""
        states = STATES if noun.kind in ANIMATE else LOOKS[noun.kind]
        return self.pick([a for a in states if self.fits("adjective", a, noun)])

    def described(self, noun: Noun, probability: float = 0.25) -> Forms:
        """Both forms of a noun, now and then with an adjective."""
        adjective = self.look(noun) + " " if self.chance(probability) else ""
        return adjective + noun.forms[0], adjective + noun.forms[1]

    def number(self, noun: Noun) -> int:
        return 0 if noun.kind == "name" else self.rng.randrange(2)

    def name(self) -> str:
        return self.of_kind("name").lemma

    def definite(self, noun: Noun, number: int = 0) -> str:
        """Anna, the little dogs."""
        return noun.lemma if noun.kind == "name" else f"the {self.described(noun)[number]}"

    def phrase(self, noun: Noun, number: int) -> str:
        """Anna, a dog, those little dogs."""
        if noun.kind == "name":
            return noun.lemma
        return f"{self.pick(DETERMINERS[number])} {self.described(noun)[number]}"

    def someone(self, noun: Noun) -> str:
        """A phrase of either number."""
        return self.phrase(noun, self.number(noun))


def sentence(text: str) -> str:
    """Spaces squeezed, a -> an, a capital and a full stop where there is no question mark."""
    text = re.sub(r"\ba (?=[aeiou])", "an ", " ".join(text.split())).replace(" ?", "?")
    return text[0].upper() + text[1:] + ("" if text.endswith(("?", ".")) else ".")


def relative(noun: Noun) -> str:
    return "who" if noun.kind in ("name", "person") else "that"


def question_word(noun: Noun) -> str:
    return "who" if noun.kind in ANIMATE else "what"


def agreeing(v: Voice, verb: Verb) -> Forms:
    """A finite form that shows its subject's number: is chasing, were chasing, has chased, does not chase."""
    styles = [
        *[(verb.third, verb.lemma)] * 4,  # often, for here each verb has a form of its own
        (f"has {verb.participle}", f"have {verb.participle}"),
        (f"does not {verb.lemma}", f"do not {verb.lemma}"),
    ]
    if verb in ACTIVE:
        styles += [(f"{be} {verb.gerund}", f"{are} {verb.gerund}") for be, are in BE]
    return v.pick(styles)


def finite(v: Voice, verb: Verb, number: int) -> str:
    """Any finite form of a verb."""
    if v.chance(0.6):
        return agreeing(v, verb)[number]
    can = v.pick(["will", "can"] if verb in ACTIVE else ["will"])
    return v.pick([verb.past, f"{can} {verb.lemma}", f"did not {verb.lemma}"])


def pronoun(noun: Noun, number: int) -> str:
    return "they" if number else noun.pronoun or f"the {noun.lemma}"


def completed(v: Voice, verb: Verb, predicate: str) -> str:
    """A predicate with its object; under a negation `some` becomes `any`."""
    direct = v.someone(v.direct(verb)) if verb.objects else ""
    return f"{predicate} {direct.replace('some ', 'any ') if ' not ' in predicate else direct}"


def circumstance(v: Voice, probability: float = 0.3) -> str:
    """Now and then a place or a time."""
    if not v.chance(probability):
        return ""
    return v.pick([f"in the {v.of_kind('place').lemma}", v.pick(TIMES)])


def prepositional(v: Voice, noun: Noun) -> Forms:
    """near the boy, near the boys: the two numbers are those of the attractor."""
    preposition, attractor = v.pick(PREPOSITIONS), v.described(v.of_kind(*COMMON))
    return f"{preposition} the {attractor[0]}", f"{preposition} the {attractor[1]}"


def subject_relative(v: Voice, noun: Noun) -> Forms:
    """that chased the cat, that chased the cats."""
    verb = v.verb(TRANSITIVE, subject=noun)
    attractor = v.described(v.direct(verb, names=False))
    return tuple(f"{relative(noun)} {verb.past} the {form}" for form in attractor)


def object_relative(v: Voice, noun: Noun) -> Forms:
    """that the girl likes, that the girls like."""
    verb = v.verb(TRANSITIVE, direct=noun)
    attractor = v.described(v.subject(verb, kinds=COMMON))
    forms = v.pick([(verb.past, verb.past), (verb.third, verb.lemma)])
    return tuple(f"{relative(noun)} the {attractor[n]} {forms[n]}" for n in (0, 1))


def stacked(v: Voice, noun: Noun) -> Forms:
    """that chased the cat near the boy, that chased the cats near the boys."""
    inner, outer = subject_relative(v, noun), prepositional(v, noun)
    return f"{inner[0]} {outer[0]}", f"{inner[1]} {outer[1]}"


MODIFIERS = (*[prepositional, subject_relative, object_relative] * 3, stacked)


def modified(v: Voice, noun: Noun, number: int) -> str:
    """A noun phrase that may carry a prepositional phrase or a relative clause."""
    phrase = v.phrase(noun, number)
    if noun.kind == "name" or v.chance(0.55):
        return phrase
    return f"{phrase} {v.pick(v.pick(MODIFIERS)(v, noun))}"


def auxiliary(v: Voice, verb: Verb, number: int) -> tuple[str, str]:
    """An auxiliary that `not` can follow, and the form of the verb after it."""
    has = ("has", "have")[number]
    return v.pick([(has, verb.participle), (v.pick(BE)[number], verb.gerund), ("will", verb.lemma)])


def contents(v: Voice, number: int) -> tuple[str, str]:
    """Something small, and what it may be in."""
    container = v.of_kind("container")
    thing = v.noun(lambda n: n.kind in ("thing", "food") and v.fits("inside", container.lemma, n))
    return v.described(thing)[number], v.described(container)[number]
