"""Rows in the form of official tasks, in the words of the nursery: a dog, a ball, who chases whom.

They stand in for data that may not be passed on, so that a whole evaluation can be tried. Each row says so in its field
"synthetic"; nothing of an official file is in them, and a score on them says nothing about English. What holds for
every function: it yields rows without end, the same for the same `rng`.
"""

import itertools
from collections.abc import Iterator
from random import Random

from babylm_data.nursery.lexicon import ACTIVE, COMMON, LOOKS, NOUNS, STATES, VERBS, Noun, Verb
from babylm_data.nursery.voice import sentence

Rows = Iterator[dict]
MARK = {"synthetic": True}
BEINGS = [noun for noun in NOUNS if noun.kind in COMMON]
THINGS = [noun for noun in NOUNS if noun.kind == "thing"]
FOODS = [noun for noun in NOUNS if noun.kind == "food"]
CONTAINERS = [noun for noun in NOUNS if noun.kind == "container"]
TO_BEINGS = [verb for verb in VERBS if "animal" in verb.objects]
TO_THINGS = [verb for verb in VERBS if "thing" in verb.objects and "animal" in verb.subjects]
TO_FOOD = [verb for verb in VERBS if verb.objects == ("food",)]
NONSENSE = ("zib", "fep")


def the(noun: Noun) -> str:
    return f"the {noun.lemma}"


def capital(text: str) -> str:
    """The beginning of a sentence: a capital, and "an" where it belongs."""
    return sentence(text).removesuffix(".")


def deeds(rng: Random) -> tuple[list[str], list[str]]:
    """The dog chased the cat -> the cat was chased by the dog."""
    verb, (one, other) = rng.choice(TO_BEINGS), rng.sample(BEINGS, 2)
    orders = ((one, other), (other, one))
    return (
        [f"{the(doer)} {verb.past} {the(done)}" for doer, done in orders],
        [f"{the(done)} was {verb.participle} by {the(doer)}" for doer, done in orders],
    )


def places(rng: Random) -> tuple[list[str], list[str]]:
    """The ball is in the box and the doll is in the bag -> there is a ball in the box."""
    (one, other), (box, bag) = rng.sample(THINGS, 2), rng.sample(CONTAINERS, 2)
    orders = ((one, other), (other, one))
    return (
        [f"{the(first)} is in {the(box)} and {the(second)} is in {the(bag)}" for first, second in orders],
        [f"there is a {first.lemma} in {the(box)}" for first, _ in orders],
    )


def qualities(rng: Random, nouns: list[Noun], words: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The dog is happy and the cat is sad -> the cat is not happy."""
    (one, other), (happy, sad) = rng.sample(nouns, 2), rng.sample(words, 2)
    orders = ((happy, sad), (sad, happy))
    return (
        [f"{the(one)} is {first} and {the(other)} is {second}" for first, second in orders],
        [f"{the(other)} is not {first}" for first, _ in orders],
    )


def ewok(domain: str, rng: Random) -> Rows:
    """Two contexts, two targets, each right after its own; the swapped half is a row of its own, as in the official."""
    aspect = domain.partition("-")[2]
    while True:
        if aspect in ("interactions", "dynamics") or domain == "social-relations":
            said = deeds(rng)
        elif aspect == "relations":
            said = places(rng)
        elif domain in ("agent-properties", "social-properties"):
            said = qualities(rng, BEINGS, STATES)
        else:
            said = qualities(rng, THINGS, LOOKS["thing"])
        contexts, targets = ([sentence(text) for text in texts] for texts in said)
        for first, second in ((0, 1), (1, 0)):
            yield {
                "Domain": domain,
                "ContextType": "direct",
                "ContextDiff": "swap",
                "TargetDiff": "swap",
                "Context1": contexts[first],
                "Context2": contexts[second],
                "Target1": targets[first],
                "Target2": targets[second],
            } | MARK


def comps(subtask: str, rng: Random) -> Rows:
    """A dog can jump, a spoon cannot; for the other subtasks a zib is a dog, with or without a fep to distract."""
    zib, fep = NONSENSE
    frames = {
        "base": "a {0}",
        "wugs": f"a {zib} is a {{0}}, so a {zib}",
        "wugs_dist_before": f"a {fep} is a {{1}} and a {zib} is a {{0}}, so a {zib}",
        "wugs_dist_in_between": f"a {zib} is a {{0}} and a {fep} is a {{1}}, so a {zib}",
    }
    while True:
        verb, spoon = rng.choice(ACTIVE), rng.choice(THINGS)
        dog = rng.choice([noun for noun in BEINGS if noun.kind in verb.subjects])
        prefixes = [
            frames[subtask].format(*pair) for pair in ((dog.lemma, spoon.lemma), (spoon.lemma, dog.lemma))
        ]
        yield {
            "prefix_acceptable": capital(prefixes[0]),
            "prefix_unacceptable": capital(prefixes[1]),
            "property_phrase": f"can {verb.lemma}{object_of(verb, rng)}.",
        } | MARK


def object_of(verb: Verb, rng: Random) -> str:
    """ " the ball", or nothing after a verb that takes nothing."""
    if not verb.objects:
        return ""
    return (
        f" {the(rng.choice([noun for noun in NOUNS if noun.kind in verb.objects and noun.kind != 'name']))}"
    )


def entity_tracking(file: str, operations: int, kept: int, rng: Random) -> Rows:
    """A thing goes from container to container; the first of five options is where it is in the end. After `kept` rows,
    "nothing" is offered too.
    """
    number = 0
    while True:
        options, thing, being = rng.sample(CONTAINERS, 5), rng.choice(THINGS), rng.choice(BEINGS)
        place = rng.choice(options)
        story = [sentence(f"{the(thing)} is in {the(place)}")]
        for _ in range(operations):
            place = rng.choice([container for container in options if container != place])
            story.append(sentence(f"{the(being)} put {the(thing)} into {the(place)}"))
        options = [place, *(container for container in options if container != place)]
        last = f"{options[4].lemma}." if number < kept else "nothing."
        yield {
            "sample_id": f"{file}-{number}",
            "numops": operations,
            "input_prefix": " ".join([*story, capital(f"{the(thing)} is now in the ")]) + " ",
            "options": [f"{container.lemma}." for container in options[:4]] + [last],
        } | MARK
        number += 1


def global_piqa(solutions: int, rng: Random) -> Rows:
    """The girl wants to eat something. She looks for -> the apple, not the train. Any may stand first."""
    for number in itertools.count():
        being, verb, label = rng.choice(BEINGS), rng.choice(TO_FOOD), rng.randrange(solutions)
        nouns = rng.sample(THINGS, solutions)
        nouns[label] = rng.choice(FOODS)
        yield {
            "prompt": f"{sentence(f'{the(being)} wants to {verb.lemma} something')} {capital(the(being))} looks for",
            **{f"solution{place}": f"{the(noun)}." for place, noun in enumerate(nouns)},
            "label": label,
            "example_id": f"synthetic_{number}",
        } | MARK


def story(rng: Random) -> tuple[str, list[tuple[Noun, Verb, Noun]]]:
    """Five sentences about five beings and five things, and what they say."""
    said = list(zip(rng.sample(BEINGS, 5), rng.choices(TO_THINGS, k=5), rng.sample(THINGS, 5), strict=True))
    return " ".join(sentence(f"{the(dog)} {verb.past} {the(ball)}") for dog, verb, ball in said), said


def boolq(rng: Random) -> Rows:
    """Did the dog find the ball? It found that or another thing."""
    number = 0
    while True:
        passage, said = story(rng)
        label, (dog, verb, ball), (_, _, other) = rng.randrange(2), *rng.sample(said, 2)
        question = f"did {the(dog)} {verb.lemma} {the(ball if label else other)}"
        yield {"question": question, "passage": passage, "idx": number, "label": label} | MARK
        number += 1


def multirc(rng: Random) -> Rows:
    """What did the dog find? The ball that it found, or a thing that another found."""
    number = 0
    while True:
        paragraph, said = story(rng)
        label, (dog, verb, ball), (_, _, other) = rng.randrange(2), *rng.sample(said, 2)
        yield {
            "paragraph": paragraph,
            "question": f"What did {the(dog)} {verb.lemma}?",
            "answer": sentence(the(ball if label else other)),
            "idx": number,
            "label": label,
        } | MARK
        number += 1
