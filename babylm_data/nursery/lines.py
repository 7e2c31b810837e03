"""The text of the nursery: each function speaks one line, a sentence or a short question with its answer."""

from collections.abc import Callable

from babylm_data.nursery.lexicon import (
    ACTIVE,
    ACTIVE_OF_THINGS,
    ANIMATE,
    BE,
    COMMON,
    DEMONSTRATIVES,
    EXISTENTIAL,
    INTRANSITIVE,
    KNOWS,
    OF_THINGS,
    OPENERS,
    POSSESSIVES,
    QUANTIFIERS,
    REFLEXIVE,
    REFLEXIVES,
    SAYS,
    TRANSITIVE,
    VERBS,
)
from babylm_data.nursery.voice import (
    Voice,
    auxiliary,
    circumstance,
    completed,
    contents,
    finite,
    modified,
    prepositional,
    pronoun,
    question_word,
    relative,
    sentence,
)


def opener(v: Voice) -> str:
    """Now and then something before a sentence: look, Anna said"""
    if v.chance(0.7):
        return ""
    return v.pick([v.pick(OPENERS), f"{v.name()} {v.pick(SAYS)} {v.pick(['', 'that'])}"])


def statement(v: Voice) -> str:
    """Look, the little dog that the boys like is sleeping in the garden."""
    verb = v.verb(VERBS)
    noun = v.subject(verb)
    number = v.number(noun)
    predicate = completed(v, verb, finite(v, verb, number))
    return f"{opener(v)} {modified(v, noun, number)} {predicate} {circumstance(v)}"


def description(v: Voice) -> str:
    """The cats near the boy are happy."""
    noun = v.of_kind(*ANIMATE, "thing", "food")
    number = v.number(noun)
    return f"{opener(v)} {modified(v, noun, number)} {v.pick(BE)[number]} {v.state(noun)}"


def reflexive(v: Voice) -> str:
    """Anna washed herself. Tom said that the girls near the boy can see themselves."""
    verb = v.verb(REFLEXIVE)
    noun = v.subject(verb, kinds=v.pick([("name", "person"), ANIMATE]))  # gender is learned word by word
    number = v.number(noun) if noun.pronoun else 1
    said = f"{v.name()} {v.pick(SAYS)} that" if v.chance(0.4) else ""
    phrase = v.phrase(noun, number)
    if noun.kind != "name" and v.chance(0.3):
        phrase += " " + v.pick(prepositional(v, noun))
    return f"{said} {phrase} {finite(v, verb, number)} {REFLEXIVES[pronoun(noun, number)]} {circumstance(v)}"


def reason(v: Voice) -> str:
    """Anna is happy because she found her ball."""
    verb = v.verb(OF_THINGS)
    noun = v.subject(verb)
    number = v.number(noun) if noun.pronoun else 1
    they, thing = pronoun(noun, number), v.direct(verb)
    phrase = f"{v.phrase(noun, number)} {v.pick(BE)[number]} {v.state(noun)}"
    return f"{phrase} because {they} {verb.past} {POSSESSIVES[they]} {v.described(thing)[v.number(thing)]}"


def demonstrative(v: Voice) -> str:
    """Look at these red shoes."""
    verb = v.verb(OF_THINGS)
    name, direct, number = v.subject(verb, kinds=["name"]).lemma, v.direct(verb), v.rng.randrange(2)
    this = f"{v.pick(DEMONSTRATIVES)[number]} {v.described(direct, 0.6)[number]}"
    return v.pick([f"look at {this}", f"{name} {finite(v, verb, 0)} {this}", f"{name} {verb.past} {this}"])


def passive(v: Voice) -> str:
    """The ball was found by a cat."""
    verb = v.verb(TRANSITIVE)
    direct, agent = v.direct(verb), v.subject(verb)
    number = v.number(direct)
    found = f"{v.pick([*(be[number] for be in BE), 'will be'])} {verb.participle}"
    return f"{v.phrase(direct, number)} {found} by {v.someone(agent)} {circumstance(v)}"


def object_question(v: Voice) -> str:
    """What did Tom find? He found a ball."""
    verb = v.verb(TRANSITIVE)
    direct, noun = v.direct(verb), v.subject(verb)
    number, what = v.number(noun), question_word(direct)
    phrase, answer = v.phrase(noun, number), ""
    if verb in ACTIVE and v.chance(0.5):
        be = v.pick(BE)[number]
        question, verb_form = f"{what} {be} {phrase} {verb.gerund}?", f"{be} {verb.gerund}"
    else:
        question, verb_form = f"{what} did {phrase} {verb.lemma}?", verb.past
    if v.chance(0.4):
        answer = sentence(f"{pronoun(noun, number)} {verb_form} {v.someone(direct)}")
    return f"{question} {answer}"


def time_question(v: Voice) -> str:
    """When did the dog sleep? It slept after lunch."""
    verb = v.verb(INTRANSITIVE)
    noun = v.subject(verb)
    number = v.number(noun)
    question = f"{v.pick(['when', 'where'])} did {v.phrase(noun, number)} {verb.lemma}?"
    answer = f"{pronoun(noun, number)} {verb.past} {circumstance(v, 1)}"
    return f"{question} {sentence(answer) if v.chance(0.4) else ''}"


def yes_no_question(v: Voice) -> str:
    """Did the dog that chased the cats find the ball? Is the boy who was tired sleeping?"""
    verb = v.verb(ACTIVE)
    noun = v.subject(verb)
    number = v.number(noun)
    phrase = modified(v, noun, number)
    if noun.kind != "name" and v.chance(0.3):
        phrase = f"{v.phrase(noun, number)} {relative(noun)} {v.pick(BE)[number]} {v.state(noun)}"
    is_doing = (v.pick(BE)[number], verb.gerund)
    do, form = v.pick([("did", verb.lemma), ("did", verb.lemma), ("can", verb.lemma), is_doing])
    yes = v.pick(["yes, {} {}", "no, {} {} not"]).format(pronoun(noun, number), do)
    return f"{do} {phrase} {completed(v, verb, form)}? {sentence(yes) if v.chance(0.3) else ''}"


def knowledge(v: Voice) -> str:
    """Tom knows what the dog found. Tom knows that the dog found the ball. Tom saw what the dog ate."""
    verb = v.verb(TRANSITIVE)
    direct, noun = v.direct(verb), v.subject(verb)
    number = v.number(noun)
    knows = f"{v.name()} {v.pick(KNOWS)}"
    form = f"{v.pick(BE)[number]} {verb.gerund}" if verb in ACTIVE and v.chance(0.5) else verb.past
    clause = f"{v.phrase(noun, number)} {form}"
    if v.chance(0.5):
        return f"{knows} that {clause} {v.someone(direct)}"
    return f"{knows} {question_word(direct)} {clause}"


def any_line(v: Voice) -> str:
    """The girl who was happy has not found any apples. The girl who was not happy has found some apples."""
    verb = v.verb(ACTIVE_OF_THINGS)
    noun, apples, number = v.subject(verb, kinds=COMMON), v.direct(verb), v.rng.randrange(2)
    inner, outer, some = v.pick([("not", "", "some"), ("", "not", "any")])
    has, found = auxiliary(v, verb, number)
    girl = f"{v.definite(noun, number)} {relative(noun)} {v.pick(BE)[number]} {inner} {v.state(noun)}"
    return f"{girl} {has} {outer} {found} {some} {v.described(apples)[1]} {circumstance(v)}"


def ever_line(v: Voice) -> str:
    """I think no dog that the boy likes has ever slept. I think the dog that no boy likes has often slept."""
    says = f"{v.name()} {v.pick(SAYS)}"
    verb = v.verb(INTRANSITIVE)
    noun = v.subject(verb, kinds=COMMON)
    if v.chance(0.3):
        return f"no {v.described(noun)[0]} has ever {verb.participle} {circumstance(v)}"
    like = v.verb(TRANSITIVE, direct=noun)
    other = v.subject(like, kinds=COMMON)
    no, the, ever = v.pick([("no", "the", "ever"), ("the", "no", v.pick(["often", "just", "already"]))])
    clause = f"{no} {v.described(noun)[0]} {relative(noun)} {the} {v.described(other)[0]} {like.third}"
    return f"{says} {clause} has {ever} {verb.participle} {circumstance(v)}"


def quantity(v: Voice) -> str:
    """Every little dog is sleeping. Both cats have found the ball."""
    verb = v.verb(VERBS)
    noun, number = v.subject(verb, kinds=COMMON), v.rng.randrange(2)
    phrase = f"{v.pick(QUANTIFIERS[number])} {v.described(noun, 0.5)[number]}"
    return f"{phrase} {completed(v, verb, finite(v, verb, number))} {circumstance(v)}"


def existential(v: Voice) -> str:
    """There is one ball in every box. Every ball is in one box. Tom put all the balls in some boxes."""
    number = v.rng.randrange(2)
    thing, container = contents(v, number)
    one, every = v.pick(EXISTENTIAL[number])
    be = v.pick(BE)[number]
    there = f"there {be} {one} {thing} in {every} {container}"
    every_thing = v.pick([f"{every} {thing} {be}", f"{v.name()} put {every} {thing}"])
    return v.pick([there, f"{every_thing} in {one} {container}"])


def sequence(v: Voice) -> str:
    """Tom washed the ball after finding the doll. What did Tom wash after finding the doll?"""
    first, second = v.verb(OF_THINGS), v.verb(ACTIVE_OF_THINGS)
    name = v.subject(first, second, kinds=["name"]).lemma
    after = f"{v.pick(['after', 'before'])} {second.gerund} {v.someone(v.direct(second))}"
    if v.chance(0.5):
        return f"what did {name} {first.lemma} {after}?"
    return f"{name} {first.past} {v.someone(v.direct(first))} {after}"


LINES: dict[Callable[[Voice], str], float] = {  # construction: weight
    statement: 10,
    description: 3,
    reflexive: 7,
    reason: 3,
    demonstrative: 2.5,
    passive: 2,
    object_question: 3,
    time_question: 1,
    yes_no_question: 2.5,
    knowledge: 2.5,
    any_line: 1.5,
    ever_line: 2,
    quantity: 2,
    existential: 1.5,
    sequence: 1,
}
