import pytest
from tiny_models import model

from babylm_data.errors import UserError
from distill.config import Attention, Hidden
from distill.layers import pairs_of


def pairs(rule, teacher_blocks, student_blocks, kind=Hidden):
    models = [_blocks(count) for count in (teacher_blocks, student_blocks)]
    loss = kind(weight={"a": 1.0}, layer_map=rule)
    return [(p.teacher, p.student) for p in pairs_of("hidden", loss, "a", *models)]


def _blocks(count):
    found = model()
    found.config.num_hidden_layers = count
    return found


@pytest.mark.parametrize(
    ("rule", "teacher", "student", "expected"),
    [
        ("last_to_last", 12, 6, [(12, 6)]),
        ("last_to_all", 4, 3, [(4, 1), (4, 2), (4, 3)]),
        ("layerwise", 12, 6, [(2, 1), (4, 2), (6, 3), (8, 4), (10, 5), (12, 6)]),
        ("layerwise", 4, 3, [(2, 1), (3, 2), (4, 3)]),
        ("layerwise", 2, 4, [(1, 1), (1, 2), (2, 3), (2, 4)]),
        ({"a": "last_to_last"}, 3, 2, [(3, 2)]),
        ({"a": [{"teacher": 0, "student": 0}]}, 3, 2, [(0, 0)]),
    ],
)
def test_a_rule_gives_pairs_of_hf_hidden_states(rule, teacher, student, expected):
    assert pairs(rule, teacher, student) == expected


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ({"teacher": 4, "student": 1}, "the teacher has 3 layers, no index 4"),
        ({"teacher": 1, "student": 3}, "the student has 2 layers, no index 3"),
    ],
)
def test_a_layer_that_is_not_there_is_refused(pair, message):
    with pytest.raises(UserError, match=message):
        pairs({"a": [pair]}, 3, 2)


def test_attention_maps_belong_to_blocks():
    with pytest.raises(UserError, match="attention maps belong to blocks, from 1"):
        pairs({"a": [{"teacher": 0, "student": 1}]}, 3, 2, kind=Attention)
