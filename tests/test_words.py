"""Tracks as data: budgets of every year, revision names, and the answer to a misspelt track."""

import pytest

from babylm_data.errors import UserError
from babylm_data.words import (
    TRACKS,
    check_exposure,
    check_last_step,
    load_track,
    revision_marks,
    revision_words,
)

YEARS = ["2023", "2024", "2025", "2026"]


def test_every_year_has_its_tracks():
    assert [path.stem for path in sorted(TRACKS.glob("*.yaml"))] == YEARS


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize(("name", "corpus"), [("strict-small", 10_000_000), ("strict", 100_000_000)])
def test_budgets_follow_the_rules_of_the_year(year, name, corpus):
    track = load_track(f"{year}/{name}")
    capped = year >= "2025"
    official = 10_421_796 if (year, name) == ("2026", "strict-small") else corpus  # the words of its one file
    assert track.corpus_words == official
    assert track.epochs == (10 if capped else None)
    assert track.exposure_words == (10 * corpus if capped else None)
    assert bool(track.revisions) == capped


def test_strict_small_has_nineteen_revisions():
    marks = revision_marks(load_track("2025/strict-small"), 100_000_000)
    names = [f"chck_{n}M" for n in [*range(1, 10), *range(10, 101, 10)]]
    assert [name for name, _ in marks] == names and len(names) == 19
    assert dict(marks)["chck_20M"] == 20_000_000


def test_the_name_of_a_revision_tells_its_words():
    for name, words in revision_marks(load_track("2025/strict-small"), 100_000_000):
        assert revision_words(name) == words
    assert revision_words("chck_500K") == 500_000 and revision_words("chck_1B") == 10**9
    assert [revision_words(name) for name in ("main", "chck_1", "chck_1M-2", "xchck_1M")] == [None] * 4


def test_strict_adds_the_hundreds_of_millions():
    names = [name for name, _ in revision_marks(load_track("2026/strict"), 1_000_000_000)]
    assert len(names) == 28
    assert names[18:21] == ["chck_100M", "chck_200M", "chck_300M"] and names[-1] == "chck_1000M"


def test_only_revisions_that_were_passed_are_due():
    track = load_track("2025/strict-small")
    assert revision_marks(track, 999_999) == []
    assert revision_marks(track, 2_000_000) == [("chck_1M", 1_000_000), ("chck_2M", 2_000_000)]
    assert revision_marks(load_track("2024/strict"), 10**9) == []


@pytest.mark.parametrize("name", ["2025/strict-smal", "2025/strictsmall", "strict-small 2025"])
def test_a_misspelt_track_names_the_nearest(name):
    with pytest.raises(UserError, match="did you mean 20../strict-small"):
        load_track(name)


@pytest.mark.parametrize("corpus", [10_000_000, 9_000_000], ids=["words of exposure", "epochs"])
@pytest.mark.parametrize("before", [0, 1_000_000])
def test_a_cap_exactly_met_is_kept_and_a_word_more_is_refused(corpus, before):
    track = load_track("2025/strict-small")
    check_exposure(track, corpus, 10 * corpus - before, before)
    with pytest.raises(UserError, match=f"lower it to {10 * corpus - before},"):
        check_exposure(track, corpus, 10 * corpus - before + 1, before)


def test_of_two_caps_the_one_that_is_met_first_is_told_in_words():
    track = load_track("2025/strict-small")
    epochs = "data.words 20,001 is over the 20,000 words that 10 epochs of the corpus have, .* lower it to 20000, or"
    with pytest.raises(UserError, match=epochs):
        check_exposure(track, 2_000, 20_001)
    exposure = (
        "is over the 100,000,000 words of exposure of 2026/strict-small: lower it to 100000000, or set comp"
    )
    with pytest.raises(UserError, match=exposure):
        check_exposure(load_track("2026/strict-small"), 10_421_796, 104_217_960)
    check_exposure(load_track("2024/strict-small"), 2_000, 10**9)  # sets neither


def test_where_init_has_used_up_the_words_nothing_is_left_to_lower_them_to():
    with pytest.raises(
        UserError, match="after the 20,000 that init has read .* has used them up: begin with"
    ) as error:
        check_exposure(load_track("2025/strict-small"), 2_000, 1, before=20_000)
    assert "lower it" not in str(error.value)


def test_a_last_step_may_cross_a_budget_by_one_percent():
    track = load_track("2025/strict-small")
    check_last_step(track, 10_000_000, 101_000_000, 4_000_000)
    with pytest.raises(
        UserError, match="of 4,000,000 words, ends the run at 101,000,001, more than 1% over the 100,0"
    ):
        check_last_step(track, 10_000_000, 101_000_001, 4_000_000)
    check_last_step(load_track("2024/strict-small"), 2_000, 10**9, 10**6)
