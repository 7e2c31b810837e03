"""The minimal pairs of the nursery: each function makes one permuted pair or two mirrored ones.

The two sentences of a pair are the same words in another order, or the pair has a mirror image in which the
swapped words are right the other way round (`crossed`): word counts and lengths decide nothing, whatever the
tokenisation.
"""

from collections.abc import Callable

from babylm_data.nursery.lexicon import (
    ACTIVE,
    ACTIVE_OF_THINGS,
    BE,
    COMMON,
    DEMONSTRATIVES,
    EXISTENTIAL,
    INTRANSITIVE,
    IRREGULAR,
    KNOWS,
    OBJECTLESS,
    OBLIGATORY,
    OF_THINGS,
    PREPOSITIONS,
    QUANTIFIERS,
    REFLEXIVE,
    REFLEXIVES,
    SAYS,
    TRANSITIVE,
    VERBS,
    Forms,
    Noun,
)
from babylm_data.nursery.voice import (
    Voice,
    agreeing,
    auxiliary,
    circumstance,
    completed,
    contents,
    finite,
    prepositional,
    question_word,
    relative,
)

Pairs = list[tuple[str, str]]  # (good, bad)


def crossed(first: str, second: str, one: str, other: str) -> Pairs:
    """Mirrored pairs: `one` is right in the first frame only and `other` in the second only."""
    return [(first.format(one), first.format(other)), (second.format(other), second.format(one))]


def subject_verb(v: Voice, modifier: Callable[[Voice, Noun], Forms] | None = None) -> Pairs:
    """The dog near the boys is sleeping / *are sleeping: what stands between has the other number."""
    if v.chance(0.3):
        noun = v.of_kind(*COMMON)
        forms, rest = v.pick(BE), v.state(noun)
    else:
        verb = v.verb(VERBS)
        noun = v.subject(verb, kinds=COMMON)
        forms, rest = agreeing(v, verb), completed(v, verb, "")
    head, between = v.described(noun), modifier(v, noun) if modifier else ("", "")
    return crossed(
        f"the {head[0]} {between[1]} {{}} {rest}", f"the {head[1]} {between[0]} {{}} {rest}", *forms
    )


def determiner_noun(v: Voice, *, adjective: bool = False, irregular: bool = False) -> Pairs:
    """Tom found this (red) ball / *this balls."""
    verb = v.verb(TRANSITIVE if irregular else OF_THINGS)
    ball = v.noun(lambda n: n.kind != "name" and n.irregular == irregular and v.takes(verb, direct=n))
    start = f"{v.definite(v.subject(verb))} {finite(v, verb, 0)}"
    look = v.look(ball) if adjective else ""
    this, these = v.pick(DEMONSTRATIVES)
    return crossed(f"{start} {this} {look} {{}}", f"{start} {these} {look} {{}}", *ball.forms)


def anaphor_gender(v: Voice) -> Pairs:
    """Anna washed herself / *himself."""
    verb = v.verb(REFLEXIVE)
    he, she = (v.definite(v.subject(verb, pronoun=p)) for p in ("he", "she"))
    rest = f"{finite(v, verb, 0)} {{}} {circumstance(v)}"
    return crossed(f"{he} {rest}", f"{she} {rest}", "himself", "herself")


def anaphor_number(v: Voice, *, attractor: bool = False) -> Pairs:
    """The boys (near the man) washed themselves / *himself."""
    verb = v.verb(REFLEXIVE)
    boy = v.subject(verb, kinds=COMMON, pronoun=v.pick(["he", "she", "it"]))
    between = ("", "")
    if attractor:
        near, man = v.pick(PREPOSITIONS), v.subject(verb, kinds=COMMON, pronoun=boy.pronoun)
        between = (f"{near} the {man.forms[0]}", f"{near} the {man.forms[1]}")
    rest = f"{verb.past} {{}} {circumstance(v)}"
    one, many = f"the {boy.forms[0]} {between[1]} {rest}", f"the {boy.forms[1]} {between[0]} {rest}"
    return crossed(one, many, REFLEXIVES[boy.pronoun], "themselves")


def binding_domain(v: Voice) -> Pairs:
    """Tom said that Anna washed herself / *himself."""
    verb = v.verb(REFLEXIVE)
    he, she = (v.definite(v.subject(verb, pronoun=p)) for p in ("he", "she"))
    says, washed = f"{v.pick(SAYS)} that", f"{finite(v, verb, 0)} {{}}"
    return crossed(f"{she} {says} {he} {washed}", f"{he} {says} {she} {washed}", "himself", "herself")


def irregular_participle(v: Voice) -> Pairs:
    """Tom has eaten the apple / *has ate; Tom ate the apple / *eaten."""
    verb = v.verb(IRREGULAR)
    noun = v.subject(verb)
    number = v.number(noun)
    tom, rest = v.definite(noun, number), f"{{}} {completed(v, verb, '')}"
    has = ("has", "have")[number]
    return crossed(f"{tom} {has} {rest}", f"{tom} {rest}", verb.participle, verb.past)


def do_support(v: Voice) -> Pairs:
    """Did the dog (near the boys) chase / *chased the cat? The dog chased / *chase the cat."""
    verb = v.verb(VERBS)
    noun = v.subject(verb, kinds=COMMON)
    dog = f"{v.definite(noun)} {prepositional(v, noun)[1] if v.chance(0.5) else ''}"
    rest = f"{{}} {completed(v, verb, '')}"
    return crossed(f"did {dog} {rest}?", f"{dog} {rest}", verb.lemma, verb.past)


def passive_transitivity(v: Voice) -> Pairs:
    """The cup was found / *slept by Tom; Tom has slept / *found."""
    find, sleep = v.verb(OBLIGATORY), v.verb(OBJECTLESS)
    tom, direct = v.definite(v.subject(find, sleep)), v.direct(find)
    number = v.number(direct)
    cup_was = f"{v.definite(direct, number)} {v.pick(BE)[number]}"
    return crossed(
        f"{cup_was} {{}} by {tom}", f"{tom} has {{}} {circumstance(v)}", find.participle, sleep.participle
    )


def animate_subject(v: Voice) -> Pairs:
    """The girl found the cup / *The cup found the girl; the cup will be found by the girl / *…"""
    verb = v.verb(OF_THINGS)
    girl, cup = v.subject(verb, kinds=COMMON), v.direct(verb)
    girl, cup = v.definite(girl, v.number(girl)), v.definite(cup, v.number(cup))
    if v.chance(0.5):
        return [(f"{girl} {verb.past} {cup}", f"{cup} {verb.past} {girl}")]
    by = f"will be {verb.participle} by"  # "was" would have to agree
    return [(f"{cup} {by} {girl}", f"{girl} {by} {cup}")]


def wh_or_that(v: Voice) -> Pairs:
    """Tom knows what / *that the dog found; Tom knows that / *what the dog found the ball."""
    verb = v.verb(OBLIGATORY)  # "that the dog ate" would do
    dog, ball = v.definite(v.subject(verb)), v.direct(verb)
    clause = f"{v.name()} {v.pick(KNOWS)} {{}} {dog} {verb.past}"
    return crossed(clause, f"{clause} {v.someone(ball)}", question_word(ball), "that")


def wh_object_gap(v: Voice) -> Pairs:
    """What did Tom find / *sleep? When did Tom sleep / *find?"""
    find, sleep = v.verb(OBLIGATORY), v.verb(OBJECTLESS)
    did_tom = f"did {v.definite(v.subject(find, sleep))} {{}}?"
    what, when = question_word(v.direct(find)), v.pick(["when", "where"])
    return crossed(f"{what} {did_tom}", f"{when} {did_tom}", find.lemma, sleep.lemma)


def adjunct_island(v: Voice) -> Pairs:
    """What did Tom wash after finding the doll? / *What did Tom wash the doll after finding?"""
    wash, find = v.verb(OF_THINGS), v.verb(ACTIVE_OF_THINGS)
    did_tom_wash = f"did {v.subject(wash, find, kinds=['name']).lemma} {wash.lemma}"
    doll, after = v.someone(v.direct(wash, find)), f"{v.pick(['after', 'before'])} {find.gerund}"
    return [(f"what {did_tom_wash} {after} {doll}?", f"what {did_tom_wash} {doll} {after}?")]


def any_scope(v: Voice) -> Pairs:
    """The girl who was happy has not found any apples / *The girl who was not happy has found any apples."""
    verb = v.verb(ACTIVE_OF_THINGS)
    noun, apples, number = v.subject(verb, kinds=COMMON), v.direct(verb), v.rng.randrange(2)
    has, found = auxiliary(v, verb, number)
    girl, happy = f"{v.definite(noun, number)} {relative(noun)} {v.pick(BE)[number]}", v.state(noun)
    rest = f"{found} any {v.described(apples)[1]}"
    return [(f"{girl} {happy} {has} not {rest}", f"{girl} not {happy} {has} {rest}")]


def ever_scope(v: Voice) -> Pairs:
    """Tom thinks no dog that the boy likes has ever slept / *the dog that no boy likes has ever slept."""
    verb = v.verb(INTRANSITIVE)
    noun = v.subject(verb, kinds=COMMON)
    like = v.verb(TRANSITIVE, direct=noun)
    dog, boy = v.described(noun)[0], v.described(v.subject(like, kinds=COMMON))[0]
    start = f"{v.name()} {v.pick(SAYS)}"
    frame = f"{start} {{}} {dog} {relative(noun)} {{}} {boy} {like.third} has ever {verb.participle}"
    return [(frame.format("no", "the"), frame.format("the", "no"))]


def quantifier_number(v: Voice) -> Pairs:
    """Every little dog / *Both little dog slept; both little dogs / *every little dogs slept."""
    verb = v.verb(VERBS)
    dog = v.subject(verb, kinds=COMMON)
    rest = completed(v, verb, v.pick([verb.past, f"will {verb.lemma}"]))
    one, many = (f"{{}} {look} {form} {rest}" for look in [v.look(dog)] for form in dog.forms)
    return crossed(one, many, v.pick(QUANTIFIERS[0]), v.pick(QUANTIFIERS[1]))


def existential_there(v: Voice) -> Pairs:
    """There is one ball in every box / *There is every ball in one box."""
    number = v.rng.randrange(2)
    ball, box = contents(v, number)
    one, every = v.pick(EXISTENTIAL[number])
    frame = f"there {v.pick(BE)[number]} {{}} {ball} in {{}} {box}"
    return [(frame.format(one, every), frame.format(every, one))]


def question_inversion(v: Voice) -> Pairs:
    """Tom knows what the dog is eating / *what is the dog eating; the reverse where it is the question."""
    verb = v.verb([verb for verb in TRANSITIVE if verb in ACTIVE])
    noun, what = v.subject(verb), question_word(v.direct(verb))
    number = v.number(noun)
    dog, be, knows = v.definite(noun, number), v.pick(BE)[number], f"{v.name()} {v.pick(KNOWS)}"
    plain, inverted = f"{what} {dog} {be} {verb.gerund}", f"{what} {be} {dog} {verb.gerund}"
    return [(f"{knows} {plain}", f"{knows} {inverted}"), (f"{inverted}?", f"{plain}?")]


def inversion_over_relative(v: Voice) -> Pairs:
    """Is the boy who is tired sleeping? / *Is the boy who tired is sleeping?"""
    verb = v.verb(ACTIVE)
    noun, number = v.subject(verb, kinds=COMMON), v.rng.randrange(2)
    be, sleeping = v.pick(BE)[number], completed(v, verb, verb.gerund)
    start, tired = f"{be} {v.definite(noun, number)} {relative(noun)}", v.state(noun)
    return [(f"{start} {be} {tired} {sleeping}?", f"{start} {tired} {be} {sleeping}?")]
