"""Which layer of the student learns from which layer of a teacher."""

from transformers import PreTrainedModel

from babylm_data.errors import UserError
from distill.config import Attention, Layered, LayerPair


def pairs_of(
    name: str, loss: Layered, teacher: str, teacher_model: PreTrainedModel, student: PreTrainedModel
) -> list[LayerPair]:
    """The pairs of one teacher, from its rule or as they are written; UserError for a layer that is not there."""
    rule, deep = loss.map_of(teacher), teacher_model.config.get_text_config().num_hidden_layers
    every = range(1, student.config.num_hidden_layers + 1)
    if rule == "last_to_last":
        rule = [LayerPair(teacher=deep, student=every[-1])]
    elif rule == "last_to_all":
        rule = [LayerPair(teacher=deep, student=block) for block in every]
    elif rule == "layerwise":
        # rounded up: the last block meets the last, and no block of the student meets the embeddings of a teacher
        rule = [LayerPair(teacher=-(-block * deep // len(every)), student=block) for block in every]
    for pair in rule:
        if pair.teacher > deep or pair.student > len(every):
            owner, index, layers = (
                ("teacher", pair.teacher, deep)
                if pair.teacher > deep
                else ("student", pair.student, len(every))
            )
            raise UserError(
                f"losses.{name}.layer_map.{teacher}: the {owner} has {layers} layers, no index {index}"
            )
        if isinstance(loss, Attention) and not (pair.teacher and pair.student):
            raise UserError(f"losses.{name}.layer_map.{teacher}: attention maps belong to blocks, from 1")
    return rule
