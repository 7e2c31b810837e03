"""SQuAD: the official comparison of answers, windows with a stride, and spans found over them."""

import json
from functools import cache
from pathlib import Path

import pytest
import tiny_models
import torch
import tuning_models
from tuning_models import settings

from babylm_data.errors import UserError
from eval.finetune import spans, squad
from eval.finetune.__main__ import main

LONG = " ".join(f"word{n}" for n in range(60))


@cache
def tokenizer(family: str):
    return tuning_models.bert_tokenizer() if family == "bert" else tiny_models.tokenizer()


class Config:
    """What windows ask of a model's config."""

    type_vocab_size = 2


def ask(context: str, answer: str, *, uid: str = "q", question: str = "Who sees?") -> squad.Question:
    return squad.Question(uid, question, context, ((answer, context.index(answer)),))


def windows(family: str, *questions: squad.Question, max_length: int = 48, stride: int = 12) -> spans.Windows:
    chosen = settings(max_length=max_length, stride=stride, head="span", pool=None)
    return spans.make_windows(tokenizer(family), Config(), questions, chosen)


def text_at(question: squad.Question, part: spans.Window, first: int, last: int) -> str:
    return question.context[part.spans[first - part.at, 0] : part.spans[last - part.at, 1]].strip()


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        ("The  cat.", "cat", True),
        ("An apple, a day", "apple day", True),
        ("U.S.", "us", True),
        ("theatre", "atre", False),
        ("cat's", "cats", True),
        ("café", "cafe", False),
        ("well-known", "wellknown", True),
        ("the", "", True),
        ("1,000", "1000", True),
    ],
)
def test_answers_are_compared_without_case_punctuation_and_articles(answer, gold, equal):
    assert squad.exact_match(answer, gold) == float(equal)


def test_f1_counts_shared_words_as_often_as_both_have_them():
    assert squad.word_f1("the big big dog", "big dog dog") == pytest.approx(2 / 3)
    assert squad.word_f1("dog", "cat") == 0
    assert squad.word_f1("the", "a") == 0, "nothing is shared where nothing is left"


def test_the_best_reference_counts():
    question = squad.Question("q", "?", "a dog", (("x", 0), ("big dog", 0), ("dog", 0)))
    other = squad.Question("r", "?", "a dog", (("cat", 0),))
    found = squad.metrics({"q": "the big", "r": "cat"}, [question, other])
    assert found == {"exact_match": 0.5, "f1": pytest.approx((2 / 3 + 1) / 2)}


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_windows_cover_the_passage_overlap_and_hold_the_answer_where_it_is_whole(family):
    question = ask(LONG, "word31 word32")
    made = windows(family, question)
    assert len(made.parts) > 2 and all(len(ids) <= 48 for ids in made.encoded.ids)
    covered = [part.spans for part in made.parts]
    assert covered[0][0, 0] == 0 and covered[-1][-1, 1] == len(LONG)
    for before, after in zip(covered, covered[1:], strict=False):
        assert after[0, 0] < before[-1, 1], "neighbours share the tokens of the stride"
    held = 0
    for part, (first, last) in zip(made.parts, made.encoded.targets, strict=True):
        if (first, last) != (0, 0):
            held += 1
            assert text_at(question, part, first, last) == "word31 word32"
        else:
            start = question.answers[0][1]
            assert part.spans[0, 0] > start or part.spans[-1, 1] < start + len("word31 word32")
    assert held >= 1


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_every_window_begins_with_its_whole_question(family):
    made, loaded = windows(family, ask(LONG, "word7 ")), tokenizer(family)
    for ids, part in zip(made.encoded.ids, made.parts, strict=True):
        said = loaded.decode(ids[: part.at], skip_special_tokens=True)
        assert said.lower().replace(" ", "").startswith("whosees?")


def test_a_question_that_is_too_long_is_cut_and_counted():
    made = windows("llama", ask(LONG, "word7 ", question="why " * 100), ask("The cat.", "cat"))
    assert made.cut == 1 and all(len(ids) <= 48 for ids in made.encoded.ids)
    assert {part.question for part in made.parts} == {0, 1}


def test_the_best_span_is_in_order_short_and_inside_the_passage():
    start, end = torch.zeros(1, 50), torch.zeros(1, 50)
    start[0, 10], end[0, 5], end[0, 12], end[0, 49], start[0, 1] = 5, 9, 3, 8, 99
    allowed = torch.ones(1, 50, dtype=torch.bool)
    allowed[0, :2] = False
    score, first, last = spans.best_spans(start, end, allowed)
    assert (score.item(), first.item(), last.item()) in {(9, 2, 5), (9, 3, 5), (9, 4, 5), (9, 5, 5)}
    end[0, 5] = 0
    score, first, last = spans.best_spans(start, end, allowed)
    assert (score.item(), first.item(), last.item()) == (8, 10, 12), "token 49 is 40 tokens away"


class Planted(torch.nn.Module):
    """Knows the token ids that an answer begins and ends with."""

    def __init__(self, first: int, last: int):
        super().__init__()
        self.ids, self.weight = (first, last), torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs):
        return tuple((inputs["input_ids"] == token).float() * 9 for token in self.ids)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_planted_answer_is_found_over_all_windows(family):
    contexts = [f"{LONG[:100]} @ middle # {LONG[100:]}", f"@ start # {LONG}", f"{LONG} @ end #"]
    questions = [
        ask(text, text[text.index("@") : text.index("#") + 1], uid=str(n)) for n, text in enumerate(contexts)
    ]
    loaded = tokenizer(family)
    first, last = (loaded(f"x {mark}", add_special_tokens=False)["input_ids"][-1] for mark in "@#")
    chosen = settings(max_length=40, stride=12, head="span", pool=None)
    made = spans.make_windows(loaded, Config(), questions, chosen)
    problem = spans.Extraction(made.encoded, made, questions, [])
    found = problem.validate(Planted(first, last), chosen)
    assert (
        found.predictions == {str(n): question.answers[0][0] for n, question in enumerate(questions)}
        or family == "llama"
    )
    assert found.metrics["exact_match"] == 1.0


class Infinite(Planted):
    """Gives minus infinity on padding, as the extractor does, and `value` at the end of every window."""

    def __init__(self, value: float) -> None:
        super().__init__(0, 0)
        self.value = value

    def forward(self, inputs):
        mask = inputs["attention_mask"]
        start, end = torch.zeros(mask.shape), torch.zeros(mask.shape)
        start[torch.arange(len(mask)), mask.sum(dim=1) - 1] = self.value
        return start.masked_fill(mask == 0, -torch.inf), end.masked_fill(mask == 0, -torch.inf)


def test_span_logits_must_be_finite_but_on_padding():
    questions = [ask("The cat.", "cat", uid="short"), ask("The old dog sees the cat.", "dog", uid="long")]
    made = windows("bert", *questions)
    assert len({len(ids) for ids in made.encoded.ids}) == 2, "one window is padded"
    problem = spans.Extraction(made.encoded, made, questions, [])
    assert set(problem.validate(Infinite(0.0), settings()).predictions) == {"short", "long"}
    for value in (float("nan"), float("inf")):
        with pytest.raises(FloatingPointError):
            problem.validate(Infinite(value), settings())


def test_the_validation_loss_of_spans_is_the_mean_over_windows():
    made = windows("bert", ask("The cat.", "cat", uid="short"), ask(LONG, "word31 word32", uid="long"))
    problem = spans.Extraction(made.encoded, made, [ask("The cat.", "cat"), ask(LONG, "word31 word32")], [])

    class Flat(Planted):
        def forward(self, inputs):
            flat = torch.zeros(inputs["input_ids"].shape).masked_fill(
                inputs["attention_mask"] == 0, -torch.inf
            )
            return flat, flat

    by_hand = [torch.tensor(float(len(ids))).log().item() for ids in made.encoded.ids]
    assert len(set(by_hand)) > 1, "windows of unlike lengths"
    found = problem.validate(Flat(0, 0), settings()).loss
    assert found == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-5)


def article(*questions: squad.Question) -> dict:
    paragraphs = [
        {
            "context": question.context,
            "qas": [
                {
                    "id": question.uid,
                    "question": question.question,
                    "answers": [{"text": text, "answer_start": start} for text, start in question.answers],
                }
            ],
        }
        for question in questions
    ]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}


def write(folder: Path, name: str, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content, indent=1), encoding="utf-8")
    return folder / name


def test_a_file_is_read_question_by_question(tmp_path):
    asked = [ask("The cat sees.", "cat", uid="a"), ask("The dog.", "dog", uid="b")]
    assert squad.read_questions(write(tmp_path, "x.json", article(*asked))) == asked


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"rows": []}, "not the form of SQuAD v1.1 .*'data'"),
        ({"data": []}, "has no questions"),
        (article(squad.Question("q7", "?", "A cat.", ())), "question 'q7' has no answer: .*v2.0"),
        (
            article(squad.Question("q7", "?", "A cat.", (("cat", 3),))),
            "question 'q7': its answer 'cat' .* character 3",
        ),
        (
            article(squad.Question("q7", 5, "A cat.", (("cat", 2),))),
            "question 'q7' has something else than text",
        ),
    ],
)
def test_a_malformed_file_is_named_with_the_question(tmp_path, content, complaint):
    with pytest.raises(UserError, match=f"x.json.*{complaint}") as error:
        squad.read_questions(write(tmp_path, "x.json", content))
    assert "\n" not in str(error.value)


def test_json_that_is_broken_is_named_by_line(tmp_path):
    (tmp_path / "x.json").write_text('{\n"data": [,]}', encoding="utf-8")
    with pytest.raises(UserError, match="x.json, line 2 is not JSON"):
        squad.read_questions(tmp_path / "x.json")


def test_squad_is_learned_through_the_program(tmp_path, capsys):
    """Answers begin with the one "small" of a passage and end with the animal behind it."""
    tuning_models.save_bert(tmp_path / "model")
    animals = ["dog", "cat", "cats", "dogs"]
    asked = [
        ask(
            f"{'The old ' * (n % 3)}{animals[n % 4]} sees the small {animals[n % 3]} who sees",
            f"small {animals[n % 3]}",
            uid=f"q{n}",
        )
        for n in range(60)
    ]
    for name, part in (("train", asked), ("dev", asked[:20])):
        write(tmp_path / "data/squad", f"{name}-v1.1.json", article(*part))
    where = ["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    how = ["--lr", "3e-3", "--batch-size", "8", "--max-length", "32", "--epochs", "20"]
    main([str(tmp_path / "model"), "--tasks", "squad", *where, *how])
    result = json.loads((tmp_path / "out/squad/seed-42/result.json").read_text())
    answers = json.loads((tmp_path / "out/squad/seed-42/predictions.json").read_text())
    assert set(answers) == {f"q{n}" for n in range(20)}
    assert result["metrics"] == squad.metrics(answers, asked[:20])
    assert result["metrics"]["exact_match"] > 0.95
    assert [entry["f1"] for entry in result["epochs"]][-1] == result["metrics"]["f1"]
    assert all("validation_loss" in entry for entry in result["epochs"]), "every epoch is judged"
    assert "exact match" in capsys.readouterr().out


def test_windows_too_short_for_a_question_are_refused(tmp_path):
    loaded, config = tokenizer("bert"), Config()
    asked = [ask("The cat.", "cat")]
    with pytest.raises(UserError, match="windows of 8 tokens hold no question"):
        spans.prepare(asked, asked, loaded, config, settings(max_length=8, stride=4))
