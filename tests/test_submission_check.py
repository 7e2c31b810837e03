"""The submission file: a sound one is accepted, and every fault is found, named and placed."""

import json
import random
from pathlib import Path

import pytest
from submission_faults import FAULTS, REVISIONS
from submission_files import fitted, sound, write_data

from eval.submission_parts.check import check_file
from eval.submission_parts.rules import known_rules, load_rules

DRAWS = range(15)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def rules(data):
    return {name: fitted(load_rules(name), data) for name in known_rules()}


def checked(folder: Path, content: object, *arguments, **options) -> list[str]:
    """The faults of a file with this content, as lines; warnings left out."""
    path = folder / "file.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    found = check_file(path, *arguments, **options)
    assert all("\n" not in str(fault) for fault in found)
    return [str(fault) for fault in found if not fault.warning]


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("name", known_rules())
def test_a_sound_file_has_no_fault(tmp_path, rules, data, name, draw):
    for gold in (data, None):
        content = sound(rules[name], REVISIONS, random.Random(draw), gold)
        assert checked(tmp_path, content, rules[name], REVISIONS, gold) == []


@pytest.mark.parametrize("draw", DRAWS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_where_it_is_and_nowhere_else(tmp_path, rules, data, fault, draw):
    rng = random.Random(f"{fault} {draw}")
    asked = rules[rng.choice(known_rules())]
    content = sound(asked, REVISIONS, rng, data)
    place, said = FAULTS[fault](content, asked, rng)
    found = checked(tmp_path, content, asked, REVISIONS, data)
    assert any(line.startswith(place) and said in line for line in found), (place, said, found)
    key = place.partition("/")[0].partition(",")[0]
    assert [line for line in found if not line.startswith(key)] == []
