import json
import math
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from babylm_data.nursery.corpus import PAIRS_PER_PARADIGM, PARADIGMS, write_nursery
from babylm_data.nursery.lexicon import DETERMINERS, LOOKS, NOUNS, REFLEXIVES, VERBS, Noun, plural, stem
from babylm_data.nursery.voice import reserved, sentence

BLIMP_FIELDS = (
    "sentence_good sentence_bad field linguistics_term UID simple_LM_method one_prefix_method "
    "two_prefix_method lexically_identical pair_id"
).split()
SPLITS = ("train", "dev", "test")


@pytest.fixture(scope="session")
def nursery(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("nursery")
    write_nursery(folder, seed=0, words=300_000)
    return folder


@pytest.fixture(scope="session")
def texts(nursery) -> dict[str, str]:
    return {s: (nursery / "raw" / s / f"nursery.{s}").read_text(encoding="utf-8") for s in SPLITS}


@pytest.fixture(scope="session")
def pairs(nursery) -> dict[str, list[dict]]:
    files = sorted((nursery / "evaluation_data" / "full_eval" / "nursery").iterdir())
    return {f.stem: [json.loads(row) for row in f.read_text(encoding="utf-8").splitlines()] for f in files}


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]", text)


def sentences(pairs, keys=("sentence_good", "sentence_bad")) -> list[str]:
    return [row[key] for rows in pairs.values() for row in rows for key in keys]


def written_in_a_new_process(folder: Path, hash_seed: str, seed: int = 1) -> dict[str, bytes]:
    code = f"from babylm_data.nursery.corpus import *; write_nursery(Path({str(folder)!r}), seed={seed}, words=2000)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_same_seed_writes_the_same_bytes_whatever_the_hash_seed(tmp_path):
    first = written_in_a_new_process(tmp_path / "a", "1")
    assert len(first) == len(SPLITS) + len(PARADIGMS)
    assert first == written_in_a_new_process(tmp_path / "b", "2")


def test_another_seed_writes_another_text_and_other_pairs(tmp_path, nursery):
    other = written_in_a_new_process(tmp_path, "1", seed=2)
    for name in ("raw/dev/nursery.dev", "evaluation_data/full_eval/nursery/wh_or_that.jsonl"):
        assert other[name] != (nursery / name).read_bytes()


def test_splits_have_the_words_asked_for_in_scenes_of_4_to_12_lines(texts):
    for split, words in (("train", 300_000), ("dev", 15_000), ("test", 15_000)):
        assert words <= len(texts[split].split()) < words + 300
        assert {len(scene.strip().split("\n")) for scene in texts[split].split("\n\n")} == set(range(4, 13))


def test_lines_are_clean_sentences(texts):
    for line in filter(None, texts["train"].split("\n")):
        assert re.fullmatch(r"[A-Z][A-Za-z ,]*[.?]( [A-Z][A-Za-z ,]*\.)?", line) and "  " not in line, line
        assert not re.search(r"\ba [aeiou]|\ban [^aeiou]", line), line


def test_most_lines_are_said_once(texts):
    lines = [line for line in texts["train"].split("\n") if len(line.split()) >= 5]
    assert len(set(lines)) > 0.95 * len(lines)


def test_pairs_have_the_fields_of_blimp(pairs):
    assert sorted(pairs) == sorted(PARADIGMS)
    for uid, rows in pairs.items():
        assert len(rows) in (PAIRS_PER_PARADIGM, PAIRS_PER_PARADIGM + 1)
        for number, row in enumerate(rows):
            assert list(row) == BLIMP_FIELDS
            assert (row["field"], row["linguistics_term"], row["UID"]) == (*PARADIGMS[uid][:2], uid)
            assert row["pair_id"] == number and row["sentence_good"] != row["sentence_bad"]
        assert len({(row["sentence_good"], row["sentence_bad"]) for row in rows}) == len(rows)


def byte_pairs(text: str):
    """A BPE of few merges, so that words are split."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        [text], trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    )
    return lambda text: tokenizer.encode(text).tokens


@pytest.fixture(scope="session")
def shallow_scores(texts) -> dict[str, Callable[[str], float]]:
    """Scores that know no grammar: length and counts of the parts, in three tokenisations."""
    scores = {}
    splits = {"words": words_of, "letters": list, "byte pairs": byte_pairs(texts["dev"])}
    for name, split in splits.items():
        counts = Counter(split(texts["train"]))
        scores[f"length in {name}"] = lambda text, split=split: len(split(text))
        scores[f"counts of {name}"] = lambda text, split=split, counts=counts: sum(
            math.log(counts[part] + 1) for part in split(text)
        )
    return scores


@pytest.mark.slow
@pytest.mark.parametrize("uid", sorted(PARADIGMS))
def test_length_and_counts_answer_no_paradigm(uid, pairs, shallow_scores):
    for name, score in shallow_scores.items():
        margins = [score(row["sentence_good"]) - score(row["sentence_bad"]) for row in pairs[uid]]
        right = sum(0.5 if abs(margin) < 1e-6 else margin > 0 for margin in margins) / len(margins)
        assert 0.45 <= right <= 0.55, name


def test_no_sentence_of_a_pair_is_a_line_of_the_text(pairs, texts):
    lines = {line for text in texts.values() for line in text.split("\n")}
    assert not lines & set(sentences(pairs))


def test_every_word_of_the_pairs_is_common_in_train(pairs, texts):
    counts = Counter(words_of(texts["train"]))
    assert {w: counts[w] for w in words_of(" ".join(sentences(pairs))) if counts[w] < 20} == {}


NOUN_OF = {form: noun for noun in NOUNS for form in noun.forms}
VERB_OF = {form: v for v in VERBS for form in (v.lemma, v.third, v.past, v.participle, v.gerund)}
ADJECTIVES = sorted({look for looks in LOOKS.values() for look in looks})
ARTICLES = sorted(
    {d for determiners in DETERMINERS for d in determiners} | {"an", "any", "his", "her", "its", "their"}
)


def one_of(words) -> str:
    return "(" + "|".join(sorted(words)) + ")"


PLAIN = f"(?i:(?:(?:{'|'.join(ARTICLES)}) )?(?:(?:{'|'.join(ADJECTIVES)}) )?)"
AUXILIARIES = "(?:(?:is|are|was|were|has|have|does|do|did|will|can|not) ){0,3}"
COMBINATIONS = {  # as they stand on the page; "saw that Tom" and "seen by" are other constructions
    "subject": rf"(?m)^{PLAIN}{one_of(NOUN_OF)} {AUXILIARIES}{one_of(VERB_OF)}\b(?! by| that| what| who)",
    "object": rf"\b{one_of(VERB_OF)} (?!that [A-Z]){PLAIN}{one_of(NOUN_OF)}\b",
    "adjective": rf"\b{one_of(ADJECTIVES)} {one_of(NOUN_OF)}\b",
}


def combinations(role: str, text: str) -> Iterator[tuple[str, str]]:
    """(head, dependent) lemmas that stand in a role, read off the page by a pattern that knows no grammar."""
    for left, right in re.findall(COMBINATIONS[role], text):
        head, noun = (right, left) if role == "subject" else (left, right)
        yield (head if role == "adjective" else VERB_OF[head].lemma), NOUN_OF[noun].lemma


@pytest.mark.parametrize("role", sorted(COMBINATIONS))
def test_combinations_of_the_pairs_never_occur_in_the_text(role, texts, pairs):
    in_text = [pair for text in texts.values() for pair in combinations(role, text)]
    in_pairs = list(combinations(role, "\n".join(sentences(pairs, ["sentence_good"]))))
    assert len(in_text) > 5_000 and len(in_pairs) > 300
    assert not set(in_text) & set(in_pairs)
    assert not [pair for pair in in_text if reserved(role, *pair)]
    assert not [pair for pair in in_pairs if not reserved(role, *pair)]


def swapped(row: dict) -> tuple[str, str]:
    """The one word in which a pair differs, (good, bad)."""
    both = zip(words_of(row["sentence_good"]), words_of(row["sentence_bad"]), strict=True)
    ((good, bad),) = [pair for pair in both if pair[0] != pair[1]]
    return good, bad


def first_noun(row: dict) -> tuple[Noun, int]:
    form = next(word for word in words_of(row["sentence_good"]) if word in NOUN_OF)
    return NOUN_OF[form], NOUN_OF[form].forms.index(form)


@pytest.mark.parametrize("uid", [uid for uid in sorted(PARADIGMS) if uid.startswith("subject_verb")])
def test_the_good_verb_has_the_number_of_the_head(uid, pairs):
    singular = {"is", "was", "has", "does", *(v.third for v in VERBS)}
    for row in pairs[uid]:
        good, bad = (word in singular for word in swapped(row))
        assert good != bad and good == (first_noun(row)[1] == 0), row


@pytest.mark.parametrize("uid", ["anaphor_gender", "anaphor_number", "binding_c_command"])
def test_the_good_reflexive_is_that_of_the_head(uid, pairs):
    for row in pairs[uid]:
        noun, number = first_noun(row)
        right = REFLEXIVES["they" if number else noun.pronoun]
        good, bad = swapped(row)
        assert good == right and bad in REFLEXIVES.values(), row


def test_words_are_inflected_as_in_english():
    assert [plural(w) for w in ("dog", "baby", "boy", "peach", "box")] == [
        "dogs",
        "babies",
        "boys",
        "peaches",
        "boxes",
    ]
    past = {
        "hug": "hugged",
        "carry": "carried",
        "chase": "chased",
        "fix": "fixed",
        "need": "needed",
        "stay": "stayed",
    }
    assert {w: stem(w, "ed") for w in past} == past
    gerunds = {"run": "running", "carry": "carrying", "chase": "chasing", "see": "seeing", "draw": "drawing"}
    assert {w: stem(w, "ing") for w in gerunds} == gerunds


def test_a_sentence_gets_its_capital_its_stop_and_its_articles():
    assert sentence("look,  a egg is in a box ") == "Look, an egg is in a box."
    assert sentence("is it a owl ? It is.") == "Is it an owl? It is."
