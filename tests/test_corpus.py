"""Cleaning on lines written for these tests in the manner of each source, and reading of hostile files."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylm_data import corpus
from babylm_data.corpus import CLEANERS, RULES, cleaner_for, read_lines, tidy
from babylm_data.errors import UserError

RAW = {
    "childes": [
        "= = = childes/CHILDES_NA/Some/020301.cha = = =\n",
        "*MOT:\tlook at the big dog!\n",
        "[points at the picture]\n",
        "%add:\tCHI\n",
        "*CHI:\txxx xxx doggie yyy.\n",
        "*CHI:\txxx.\n",
        "*PAR1:\the said [whispers] xxx-large is his name.\n",
        "we go home now.\n",
    ],
    "switchboard": [
        "A:\tUh, do you have any pets?\n",
        "B:\tWell, I used to  have a cat. *is this right?\n",
        "A:\n",
        "so, you know, A: and B: are letters\n",
    ],
    "bnc_spoken": ["Erm  what's that then?\n", "subtitle, you said?\n", "\n", "No  no.\n"],
    "open_subtitles": ["- Who's there?\n", "It's me -- the subtitle man.\n", "- \n", "\u2013 Well-known\n"],
    "simple_wiki": [
        "A stray paragraph.\n",
        "\n",
        "= = = Mount Example = = =\n",
        "\n",
        "Mount Example is a mountain.\n",
        "History.\n",
        "= = = Other = = =\n",
        "1 + 1 = 2 is a sum.\n",
    ],
    "gutenberg": [
        "*** START OF THIS BOOK ***\n",
        "\n",
        'CHAPTER I\n"It was _very_ late," he said; _not a\n',
        "soul_ was in snake_case.\n",
        "\n",
        "* * * * *\n",
        "The end.\n",
    ],
    "cbt": ["_BOOK_TITLE_ : Someone___A_Tale.txt.out\n", "The cat -LRB- a tabby -RRB- slept .\n"],
    "anything": ["one\n", "two\n", "\n", "\n", "three"],
    "endless": ["word " * 1200, "end"],
}
CLEAN = {
    "childes": ["look at the big dog!\ndoggie.\nhe said [whispers] xxx-large is his name.\nwe go home now."],
    "switchboard": [
        "Uh, do you have any pets?\nWell, I used to have a cat.\nso, you know, A: and B: are letters"
    ],
    "bnc_spoken": ["Erm what's that then?\nsubtitle, you said?", "No no."],
    "open_subtitles": ["Who's there?\nIt's me -- the subtitle man.\nWell-known"],
    "simple_wiki": [
        "A stray paragraph.",
        "Mount Example\nMount Example is a mountain.\nHistory.",
        "Other\n1 + 1 = 2 is a sum.",
    ],
    "gutenberg": [
        'CHAPTER I "It was very late," he said; not a\nsoul was in snake_case.',
        "* * * * *\nThe end.",
    ],
    "cbt": ["The cat ( a tabby ) slept ."],
    "anything": ["one\ntwo", "three"],
    "endless": ["word " * 499 + "word", "word " * 499 + "word", "word " * 199 + "word\nend"],
}


@pytest.mark.parametrize("source", RAW)
def test_each_source_is_cleaned_of_its_marks_and_nothing_else(source):
    assert list(cleaner_for(source)(iter(RAW[source]))) == CLEAN[source]


def test_a_change_of_the_rules_is_announced():
    cleaned = repr([list(cleaner_for(source)(iter(RAW[source]))) for source in sorted(RAW)])
    known = {3: "0abf172b16ede291"}  # 3 differs from 2 in what ends a line
    assert known[RULES] == hashlib.sha256(cleaned.encode()).hexdigest()[:16], (
        "raise RULES, then add the new digest"
    )


@pytest.mark.parametrize(
    ("stem", "cleaner"),
    [
        ("simple_wikipedia", "clean_wiki"),
        ("wikitext-103", "clean_wiki"),
        ("childes_3", "clean_childes"),
        ("aochildes", "clean_childes"),
        ("children_stories", "clean_gutenberg"),
        ("bb26_en", "clean_plain"),
    ],
)
def test_a_source_is_known_by_the_start_of_its_name(stem, cleaner):
    assert cleaner_for(stem).__name__ == cleaner


def test_speech_is_cut_every_few_lines():
    lines = [f"*MOT:\tthis is line {i}." for i in range(20)]
    assert [document.count("\n") + 1 for document in cleaner_for("childes")(lines)] == [8, 8, 4]


def test_a_line_without_end_is_not_one_endless_document():
    words = [f"w{i}" for i in range(480_000)]
    cut = list(cleaner_for("plain")(["a short line", " ".join(words), "", "another"]))
    assert max(len(document.split()) for document in cut) <= 500
    assert " ".join(cut).split() == ["a", "short", "line", *words, "another"]


def test_text_without_blank_lines_is_not_one_endless_document():
    cut = list(cleaner_for("plain")("nine words are on every line of this text" for _ in range(1000)))
    assert len(cut) > 10 and max(len(document.split()) for document in cut) < 510
    assert sum(len(document.split()) for document in cut) == 9000


@pytest.mark.parametrize("cleaner", sorted(set(CLEANERS.values()), key=lambda f: f.__name__))
@given(
    lines=st.lists(
        st.text(alphabet=st.sampled_from("ab:*-_=[]. \t\n\r\x00\x85\u2028\u3000e\u0301\ufb01")), max_size=9
    )
)
def test_cleaned_text_holds_plain_white_space_only_and_no_empty_line(cleaner, lines):
    for document in cleaner(lines):
        assert document and all(line == " ".join(line.split()) != "" for line in document.split("\n"))


@given(st.text())
def test_tidying_twice_is_tidying_once(line):
    assert tidy(tidy(line)) == tidy(line)


def test_invisible_characters_go_and_compatibility_forms_are_unfolded():
    assert tidy("\ufeffa\x00b\u200bc\u00add \ufb01ve\u00a0\u2028six\x85seven\r\n") == "abcd five six seven"
    assert tidy("e\u200b\u0301") == "\u00e9"


@pytest.mark.parametrize("chunk", [1, 2, 3, 10, 10**6])
@pytest.mark.parametrize("source", RAW)
def test_a_text_is_the_same_whatever_ends_its_lines(tmp_path, monkeypatch, source, chunk):
    monkeypatch.setattr(corpus, "CHUNK_BYTES", chunk)
    whole, found = "".join(line.removesuffix("\n") + "\n" for line in RAW[source]), []
    ends = ("\n", "\r\n", "\r", "\r\r\n", "\u2028", "\u2029", "\x85", "\v", "\f", "\u2028\n", "\f\r\n")
    for end in ends:
        path = tmp_path / "a.train"
        path.write_bytes(b"\xef\xbb\xbf" + whole.replace("\n", end).encode())
        lines = list(read_lines(path))
        found.append(list(cleaner_for(source)(lines)))
        assert len(lines) == whole.count("\n")
    assert found == [found[0]] * len(ends) != [[]] * len(ends)


def test_rarer_ends_at_the_edges_of_a_line_leave_no_blank_one_and_a_byte_order_mark_is_dropped(tmp_path):
    path = tmp_path / "a.train"
    path.write_bytes("\ufeff*MOT:\tone\r\n\u2028two\u0085\n\fthree\vfour".encode())
    assert [tidy(line) for line in read_lines(path)] == ["*MOT: one", "two", "three", "four"]
    path.write_bytes("\f\fone\x1ctwo\u2028\u2028three\v\v\n".encode())
    assert [tidy(line) for line in read_lines(path)] == ["one two", "", "three"]


def test_a_file_that_is_not_utf8_is_refused_with_line_and_offset(tmp_path):
    path = tmp_path / "latin.train"
    path.write_bytes(b"good\ncaf\xe9\n")
    with pytest.raises(UserError, match=r"latin.train is not UTF-8: line 2, byte offset 8"):
        list(read_lines(path))


def test_an_endless_line_is_refused_without_reading_it_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "long.train"
    path.write_bytes(b"short\n" + b"x" * 1000 + b"\nnext")
    with pytest.raises(UserError, match=r"long.train: line 2 is over 1,000 bytes long; split it"):
        list(read_lines(path))
    path.write_bytes(b"x" * 12_345)
    with pytest.raises(UserError, match="line 1 is over 1,000 bytes"):
        list(read_lines(path))
    path.write_bytes(b"x" * 999 + b"\n")
    assert len(list(read_lines(path))) == 1
