"""The words of the nursery: nouns, verbs and adjectives with their forms, and what goes with what.

A form pair is always (singular, plural), so that `forms[plural]` picks the right one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

Forms = tuple[str, str]  # (singular, plural)


@dataclass(frozen=True)
class Noun:
    """A noun or a name; `pronoun` is that of the singular, "" where a person may be he or she."""

    forms: Forms
    kind: str
    pronoun: str
    irregular: bool

    @property
    def lemma(self) -> str:
        return self.forms[0]


@dataclass(frozen=True)
class Verb:
    """A verb, its five forms, and the kinds of nouns it takes; without `objects` it is intransitive."""

    lemma: str
    third: str
    past: str
    participle: str
    gerund: str
    subjects: tuple[str, ...]
    objects: tuple[str, ...]


def plural(word: str) -> str:
    """Regular plural of a noun, which is also the spelling of a verb's third person."""
    if re.search(r"[^aeiou]y$", word):
        return word[:-1] + "ies"
    return word + ("es" if re.search(r"(s|x|z|ch|sh)$", word) else "s")


def stem(word: str, ending: str) -> str:
    """A verb with -ed or -ing: hugged, carried, carrying, chasing."""
    if re.fullmatch(r"[^aeiou]*[aeiou][^aeiouwxy]", word):
        word += word[-1]
    elif ending == "ed" and re.search(r"[^aeiou]y$", word):
        word = word[:-1] + "i"
    elif word.endswith("e") and not word.endswith("ee"):
        word = word[:-1]
    return word + ending


def _nouns(kind: str, pronoun: str, words: str) -> Iterator[Noun]:
    for entry in words.split():
        singular, _, other = entry.partition("/")
        yield Noun((singular, other or plural(singular)), kind, pronoun, bool(other))


def _verbs(subjects: str, objects: str, words: str) -> Iterator[Verb]:
    for entry in words.split():
        base, *irregular = entry.split("/")
        past, participle = irregular or [stem(base, "ed")] * 2
        forms = (base, plural(base), past, participle, stem(base, "ing"))
        yield Verb(*forms, tuple(subjects.split()), tuple(objects.split()))


NOUNS = (
    *_nouns("name", "he", "Tom Ben Sam Max Leo Adam"),
    *_nouns("name", "she", "Anna Lucy Emma Mia Kate Ella"),
    *_nouns("person", "he", "boy king uncle brother grandpa prince man/men"),
    *_nouns("person", "she", "girl queen aunt sister grandma princess woman/women"),
    *_nouns("person", "", "baby teacher doctor farmer friend baker child/children"),
    *_nouns("animal", "it", "dog cat rabbit duck horse cow pig frog bear monkey lion bird fox kitten puppy"),
    *_nouns("animal", "it", "hen goat elephant owl mouse/mice goose/geese wolf/wolves calf/calves"),
    *_nouns("thing", "it", "ball doll book hat shoe block car truck train boat spoon plate blanket pillow"),
    *_nouns("thing", "it", "crayon drum kite key coat sock button puzzle toy brush ring flower stick stone"),
    *_nouns(
        "thing", "it", "leaf/leaves knife/knives tooth/teeth snowman/snowmen shelf/shelves scarf/scarves"
    ),
    *_nouns("food", "it", "apple cake cookie banana egg carrot pear sandwich pancake berry bun peach"),
    *_nouns("food", "it", "loaf/loaves"),
    *_nouns("container", "it", "box basket bag drawer bucket bowl jar cupboard"),
    *_nouns("place", "it", "garden kitchen park barn house yard field bedroom forest school shop tent"),
)

ANIMATE = ("name", "person", "animal")  # what acts
COMMON = ("person", "animal")  # what acts and has a plural

VERBS = (
    *_verbs("name person animal", "", "jump hop wait sneeze yawn walk snore rest"),
    *_verbs("name person animal", "", "sleep/slept/slept run/ran/run swim/swam/swum fall/fell/fallen"),
    *_verbs("name person", "", "laugh smile dance giggle sing/sang/sung"),
    *_verbs("name person animal", "name person animal", "chase follow kiss help tickle scare love"),
    *_verbs("name person animal", "name person animal", "see/saw/seen hear/heard/heard catch/caught/caught"),
    *_verbs("name person animal", "name person animal", "wash warm dry feed/fed/fed"),
    *_verbs("name person animal", "thing food container", "carry drop touch want need like pull"),
    *_verbs("name person animal", "thing food container", "find/found/found take/took/taken"),
    *_verbs("name person animal", "thing food container", "steal/stole/stolen hide/hid/hidden"),
    *_verbs("name person animal", "thing food container", "shake/shook/shaken bring/brought/brought"),
    *_verbs("name person", "thing container", "kick fix paint clean throw/threw/thrown break/broke/broken"),
    *_verbs("name person", "thing food container", "choose/chose/chosen draw/drew/drawn"),
    *_verbs("name person", "thing food container", "buy/bought/bought forget/forgot/forgotten"),
    *_verbs("name person animal", "food", "taste chew eat/ate/eaten bite/bit/bitten"),
    *_verbs("name person", "food", "cook share"),
)


def _among(lemmas: str) -> tuple[Verb, ...]:
    return tuple(v for v in VERBS if v.lemma in lemmas.split())


REFLEXIVE = _among("wash warm dry feed see hear help tickle love scare hide draw paint")
STATIVE = _among("love see hear want need like find forget")
ACTIVE = tuple(v for v in VERBS if v not in STATIVE)  # these take -ing and "can"
# these never go without an object
OBLIGATORY = _among("chase kiss tickle scare love carry touch want need like find take bring fix throw buy")
TRANSITIVE = tuple(v for v in VERBS if v.objects)
INTRANSITIVE = tuple(v for v in VERBS if not v.objects)
# which no object fits even in a pinch: one can sing a song, walk a dog
OBJECTLESS = tuple(v for v in INTRANSITIVE if v.lemma not in ("sing", "walk", "run", "dance"))
OF_THINGS = tuple(v for v in TRANSITIVE if "name" not in v.objects)  # one can do them to things only
ACTIVE_OF_THINGS = tuple(v for v in OF_THINGS if v in ACTIVE)
# with two forms for past and participle, neither of which is the lemma: "the owls run" is good English
IRREGULAR = tuple(v for v in VERBS if len({v.lemma, v.past, v.participle}) == 3)

_COLOURS = "red blue green yellow brown white black"
_LOOKS = {
    "person": "little old young kind clever tall funny busy lovely brave",
    "animal": "little big old funny tiny soft lovely brown white black",
    "food": f"big little soft tiny lovely {_COLOURS}",
    "place": "big little old new",
}
LOOKS = {  # what a noun of each kind may be called
    kind: tuple(_LOOKS.get(kind, f"little big old new pretty shiny tiny lovely {_COLOURS}").split())
    for kind in ("person", "animal", "thing", "food", "container", "place")
}
STATES = tuple("happy sad tired hungry sleepy thirsty cold angry wet quiet proud dirty".split())
BE: tuple[Forms, ...] = (("is", "are"), ("was", "were"))
REFLEXIVES = {"he": "himself", "she": "herself", "it": "itself", "they": "themselves"}
POSSESSIVES = {"he": "his", "she": "her", "it": "its", "they": "their"}
DETERMINERS = (  # singular, plural; "the" is the commonest of both
    tuple("the the the the a a this that my".split()),
    tuple("the the the the some some these those my".split()),
)
QUANTIFIERS = (("every", "each", "one"), ("all", "both", "two", "three", "many"))
EXISTENTIAL = (  # singular, plural; each (what may follow "there is", what may not)
    (("one", "every"), ("one", "each")),
    (("some", "all the"), ("two", "both"), ("many", "all the")),
)
DEMONSTRATIVES: tuple[Forms, ...] = (("this", "these"), ("that", "those"))
PREPOSITIONS = ("near", "behind", "beside", "next to")
KNOWS = ("knows", "saw", "heard", "remembers", "forgot", "knew")  # these take "that" and "what" alike
SAYS = ("said", "thinks", "thought", "says", "hopes")
OPENERS = ("look,", "oh,", "see,", "now", "today", "yes,", "well,", "and then")
TIMES = ("after lunch", "after dinner", "before bed", "again", "today", "at night")
