"""SQuAD v1.1: its files, and exact match and F1 by the rules of its official evaluation script.

Rajpurkar et al. (2016), arXiv:1606.05250: answers are compared without case, punctuation, articles and extra
blanks; F1 is over the bag of words that two answers share; of several reference answers the best counts.
"""

import json
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from babylm_data.errors import UserError
from babylm_data.files import utf8_text
from eval.finetune.glue import TASKS

PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class SquadTask:
    """Defaults, with the fields that a task of eval/finetune/glue.py has."""

    title: str = "SQuAD v1.1"
    metric: str = "f1"
    lr: float = 5e-5
    epochs: int = 2
    batch_size: int = 16
    max_length: int = 384
    stride: int = 128
    official_rows: int | None = 10_570
    names: tuple[tuple[str, str], ...] = (
        ("squad/train-v1.1.json", "squad/dev-v1.1.json"),
        ("train-v1.1.json", "dev-v1.1.json"),
    )


TASK = SquadTask()
EVERY = {**TASKS, "squad": TASK}
"""All tasks of fine-tuning by their names."""


@dataclass(frozen=True)
class Question:
    """A question, its passage, and the reference answers with the character each starts at."""

    uid: str
    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


def normalise(answer: str) -> str:
    """Lower case, no punctuation, no articles, single blanks."""
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", answer.lower().translate(PUNCTUATION)).split())


def exact_match(answer: str, gold: str) -> float:
    """1 if the two are equal once normalised, else 0."""
    return float(normalise(answer) == normalise(gold))


def word_f1(answer: str, gold: str) -> float:
    """Harmonic mean of precision and recall of the normalised words."""
    words, gold_words = normalise(answer).split(), normalise(gold).split()
    shared = (Counter(words) & Counter(gold_words)).total()
    return 2 * shared / (len(words) + len(gold_words)) if shared else 0.0


def metrics(answers: dict[str, str], questions: Sequence[Question]) -> dict[str, float]:
    """Mean over questions of the best exact match and the best F1 against any reference; fractions."""
    exact, f1 = [], []
    for question in questions:
        golds = [text for text, _ in question.answers]
        exact.append(max(exact_match(answers[question.uid], gold) for gold in golds))
        f1.append(max(word_f1(answers[question.uid], gold) for gold in golds))
    return {"exact_match": sum(exact) / len(exact), "f1": sum(f1) / len(f1)}


def read_questions(path: Path) -> list[Question]:
    """Every question of a SQuAD v1.1 file, in its order."""
    try:
        articles = json.loads(utf8_text(path, "fetch the file again"))["data"]
        found = [
            _question(path, paragraph["context"], row)
            for article in articles
            for paragraph in article["paragraphs"]
            for row in paragraph["qas"]
        ]
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}, line {error.lineno} is not JSON ({error.msg}): fetch the file again"
        ) from error
    except RecursionError:
        raise UserError(f"{path} is nested too deeply: fetch the file again") from None
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{path} has not the form of SQuAD v1.1 ({type(error).__name__}: {error}): fetch the file again"
        ) from error
    if not found:
        raise UserError(f"{path} has no questions: fetch the file again")
    return found


def _question(path: Path, context: object, row: dict) -> Question:
    uid = row["id"]
    place = f"{path}, question {uid!r}"
    texts = [uid, row["question"], context]
    answers = [(answer["text"], answer["answer_start"]) for answer in row["answers"]]
    if not all(isinstance(text, str) for text in [*texts, *(text for text, _ in answers)]):
        raise UserError(f"{place} has something else than text where text belongs: mend that question")
    if not answers:
        raise UserError(f"{place} has no answer: this is not SQuAD v1.1 (v2.0 cannot be read)")
    for text, start in answers:
        if type(start) is not int or not text or context[start : start + len(text)] != text:
            raise UserError(
                f"{place}: its answer {text[:40]!r} does not stand at character {start} of its context: "
                "mend that question"
            )
    return Question(uid, row["question"], context, tuple(answers))
