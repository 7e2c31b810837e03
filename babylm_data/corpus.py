"""From the lines of a source to clean documents: one pure function a source, and one last step for all.

Cleaning takes away marks of transcription (speaker codes, comments, headings that are file names), never a
line because of a word in it. Lines and paragraphs stay. Raise RULES when a rule below changes what comes out.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from babylm_data.errors import UserError

RULES = 3
MAX_LINE_BYTES = 10_000_000
CHUNK_BYTES = 1_000_000
LINE_END = re.compile(rb"\r+\n?|\n")  # "\r\r\n" is what a conversion made of "\r\n"
RARER_END = re.compile("[\v\f\x85\u2028\u2029]")

# Speech comes as one running stream without marks. Eight lines keep a turn with its context, and are so short
# that the model often meets `<s>`, which stands before every sentence it is later scored on.
LINES_PER_DOCUMENT = 8
# A text without any blank line, or without any line, must not become one document: about two contexts of 256 tokens
# stay together.
WORDS_PER_DOCUMENT = 500

# Not printed and not white space: control characters, byte-order marks, soft hyphens, zero-width spaces and
# direction marks. The joiners U+200C and U+200D stay: words and emoji of some scripts need them.
INVISIBLE = re.compile(
    "[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff]"
)
HEADING = re.compile(r"^\s*(=(?: ?=){0,5}) (.*\S) \1\s*$")
SPEAKER = re.compile(r"^\*[A-Z][A-Z0-9]{1,4}:\s")
TIER = re.compile(r"^[%@]\w+:")
COMMENT = re.compile(r"^\s*\[[^\[\]]*\]\s*(?:[.!?]\s*)?$")
UNINTELLIGIBLE = re.compile(r"(?:^|\s)(?:xxx|yyy|www)(?=[.!?,]*(?:\s|$))")
LETTER = re.compile(r"\w")
TURN_AND_NOTE = re.compile(r"^[AB][\d.]*:\s|\s\*[a-z].*$")
DASH = re.compile(r"^\s*[-\u2010-\u2015]+\s+")
UNDERSCORE = re.compile(r"(?<![^\W_])_+|_+(?![^\W_])")  # at the edge of a word, where it means italics
GUTENBERG_MARK = re.compile(r"^\s*\*\*\* ?(?:START|END) OF")
BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}

Lines = Iterable[str]
Documents = Iterator[str]


def read_lines(path: Path) -> Iterator[str]:
    r"""Lines of a UTF-8 file in bounded memory: "\n", "\r\n", "\r" or a rarer sign ends them. A byte-order mark is
    dropped.
    """
    offset = 0
    for number, line in enumerate(_byte_lines(path), start=1):
        if len(line) > MAX_LINE_BYTES:
            raise UserError(
                f"{path}: line {number} is over {MAX_LINE_BYTES:,} bytes long; split it into lines"
            )
        try:
            yield from line_parts(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            raise UserError(
                f"{path} is not UTF-8: line {number}, byte offset {offset + error.start:,}; convert it"
            ) from None
        offset += len(line)


def line_parts(line: str) -> list[str]:
    """A line cut where a rarer sign ends one; such signs at its edges leave no blank line behind."""
    *ended, last = RARER_END.split(line)
    parts = [*(f"{part}\n" for part in ended), last]
    while parts[1:] and not parts[-1].strip():
        parts.pop()
    while parts[1:] and not parts[0].strip():
        del parts[0]
    return parts


def _byte_lines(path: Path) -> Iterator[bytes]:
    """Lines with their ends; one over `MAX_LINE_BYTES` is the last, and not whole."""
    rest = b""
    with open(path, "rb") as file:
        while len(rest) <= MAX_LINE_BYTES:
            chunk = file.read(CHUNK_BYTES)
            data, start = rest + chunk, 0
            # what stands at the end of a chunk may be half of an end
            whole = len(data.rstrip(b"\r")) if chunk else len(data)
            for end in LINE_END.finditer(data):
                if end.start() >= whole:
                    break
                yield data[start : end.end()]
                start = end.end()
                if end[0].endswith(b"\r"):  # each of several is an end, where no "\n" follows
                    yield from [b"\r"] * (len(end[0]) - 1)
            rest = data[start:]
            if not chunk:
                break
    if rest:
        yield rest


def tidy(line: str) -> str:
    """One line in NFKC, without invisible characters, its words parted by single plain spaces."""
    if not (line.isascii() and line.isprintable()):
        line = unicodedata.normalize("NFKC", INVISIBLE.sub("", line))
    return " ".join(line.split())


def documents(lines: Iterable[str | None], *, max_lines: int | None = None) -> Documents:
    """Tidy lines and join them to documents; a blank line ends a document, None is a line taken out."""
    document: list[str] = []
    words = 0
    for line in lines:
        if line is None:
            continue
        for text, count in _pieces(tidy(line), WORDS_PER_DOCUMENT - words):
            if text:
                document.append(text)
                words += count
            if document and (not text or len(document) == max_lines or words >= WORDS_PER_DOCUMENT):
                yield "\n".join(document)
                document, words = [], 0
    if document:
        yield "\n".join(document)


def _pieces(line: str, room: int) -> list[tuple[str, int]]:
    """A tidy line and its number of words; one longer than a document in pieces, the first of `room` words."""
    count = line.count(" ") + 1
    if count <= WORDS_PER_DOCUMENT:
        return [(line, count)]
    words = line.split(" ")
    edges = [0, *range(room, count, WORDS_PER_DOCUMENT), count]
    return [(" ".join(words[a:b]), b - a) for a, b in pairwise(edges)]


def clean_plain(lines: Lines) -> Documents:
    """Any text: documents are parted by blank lines."""
    return documents(lines)


def without(mark: re.Pattern, line: str) -> str | None:
    """The line without all that matches `mark`; None if nothing else was on it."""
    rest = mark.sub("", line)
    return rest if rest.strip() or not line.strip() else None


def clean_speech(lines: Iterable[str | None]) -> Documents:
    """Speech without speaker codes (bnc_spoken, qed): lines as they are; a heading only ends a document."""
    cut = ("" if line and HEADING.match(line) else line for line in lines)
    return documents(cut, max_lines=LINES_PER_DOCUMENT)


def clean_childes(lines: Lines) -> Documents:
    """Child-directed speech: no speaker codes, annotation tiers, comment lines, unintelligible words."""

    def utterance(line: str) -> str | None:
        if TIER.match(line) or COMMENT.match(line):
            return None
        said = SPEAKER.sub("", line)
        heard = UNINTELLIGIBLE.sub("", said)
        gone = heard != line and not LETTER.search(heard)  # at most a full stop is left
        return None if gone or COMMENT.match(heard) else heard

    return clean_speech(map(utterance, lines))


def clean_switchboard(lines: Lines) -> Documents:
    """Telephone speech: no turn codes, no notes of the transcriber (from a star to the line's end)."""
    return clean_speech(without(TURN_AND_NOTE, line) for line in lines)


def clean_open_subtitles(lines: Lines) -> Documents:
    """Film subtitles: without the dash that marks a change of speaker."""
    return clean_speech(without(DASH, line) for line in lines)


def clean_wiki(lines: Lines) -> Documents:
    """Encyclopedias: `= = = Title = = =` starts a document and stays as a plain line."""

    def articles() -> Iterator[str]:
        after_title = False
        for line in lines:
            if heading := HEADING.match(line):
                yield ""
                yield heading[2]
                after_title = True
            elif line.strip() or not after_title:  # a blank line below a title does not part it from its text
                yield line
                after_title = False

    return documents(articles())


def clean_gutenberg(lines: Lines) -> Documents:
    """Books: without the underscores of italics and the frame lines of Project Gutenberg."""

    def paragraphs() -> Iterator[str]:
        for line in lines:
            frame = GUTENBERG_MARK.match(line) or HEADING.match(line)
            yield "" if frame else UNDERSCORE.sub("", line)

    return documents(paragraphs())


def clean_cbt(lines: Lines) -> Documents:
    """The Children's Book Test: file names of books end a document, bracket codes become brackets."""

    def sentences() -> Iterator[str]:
        for line in lines:
            words = [BRACKETS.get(word, word) for word in line.split()]
            yield "" if line.startswith("_BOOK_TITLE_") else UNDERSCORE.sub("", " ".join(words))

    return documents(sentences(), max_lines=LINES_PER_DOCUMENT)  # one sentence a line, and no other mark


CLEANERS: dict[str, Callable[[Lines], Documents]] = {
    "aochildes": clean_childes,
    "bnc_spoken": clean_speech,
    "cbt": clean_cbt,
    "childes": clean_childes,
    "children_stories": clean_gutenberg,
    "gutenberg": clean_gutenberg,
    "open_subtitles": clean_open_subtitles,
    "qed": clean_speech,
    "simple_wiki": clean_wiki,
    "switchboard": clean_switchboard,
    "wiki": clean_wiki,
}


def cleaner_for(source: str) -> Callable[[Lines], Documents]:
    """The cleaner of the longest known source name that `source` begins with, else `clean_plain`."""
    known = [name for name in CLEANERS if source.lower().startswith(name)]
    return CLEANERS[max(known, key=len)] if known else clean_plain
