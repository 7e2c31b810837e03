"""What a device multiplies fast: flags and a probe, and what follows from them. Rates are planted: nothing is timed."""

import pytest

from babylm_data import speed
from train_teachers.device import choose_formats


@pytest.fixture
def rates(monkeypatch):
    """rates(fp32=…, bf16=…): the device multiplies so fast."""

    def plant(gpu: bool = False, **found: float) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
        monkeypatch.setattr(speed, "product_rates", lambda _: found)

    return plant


def test_a_processor_that_names_bf16_and_emulates_it_trains_in_fp32(rates):
    rates(fp32=140e9, bf16=0.9e9)
    assert choose_formats("auto") == {"precision": "fp32", "muon": "fp32"}


def test_a_processor_with_a_fast_bf16_unit_trains_in_it(rates):
    rates(fp32=200e9, bf16=400e9)
    assert choose_formats("auto") == {"precision": "bf16", "muon": "bf16"}


def test_a_half_format_that_wins_by_a_hair_is_left_alone(rates):
    rates(fp32=200e9, bf16=210e9)
    assert choose_formats("auto")["precision"] == "fp32"


def test_a_gpu_without_bf16_trains_in_fp16_and_orthogonalises_in_fp32(rates):
    rates(gpu=True, fp32=14e12, fp16=100e12)
    assert choose_formats("auto") == {"precision": "fp16", "muon": "fp32"}


def test_what_the_config_asks_for_is_done_whatever_is_fast(rates):
    rates(fp32=140e9, bf16=0.9e9)
    assert choose_formats("bf16") == {"precision": "bf16", "muon": "fp32"}


def test_a_format_that_the_processor_does_not_name_is_not_tried(monkeypatch):
    tried = []
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    monkeypatch.setattr(speed, "_rate", lambda dtype, _: tried.append(dtype) or 1e9)
    assert speed.product_rates.__wrapped__("cpu") == {"fp32": 1e9}
    assert tried == [speed.FORMATS["fp32"]]


def test_the_probe_finds_a_rate_for_what_is_there():
    found = speed.product_rates("cpu")
    assert found["fp32"] > 1e8
    assert "fp32" in speed.describe_rates("cpu") and "GFLOP/s" in speed.describe_rates("cpu")
