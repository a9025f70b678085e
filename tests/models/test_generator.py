"""The generator: codes in, pictures out, the same each time; and the bundled one with its card."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch

from labkit.data import CLASSES
from labkit.models import bundled_generators, bundled_models, list_models, load_model
from labkit.models.generator import Generator
from labkit.models.zoo import WEIGHTS


def small() -> Generator:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Generator(3, noise=6, style=8, channels=(8, 6, 4)).eval()


def test_codes_become_pictures() -> None:
    maker = small()
    codes = maker.codes(torch.tensor([0, 2, 2, 1]))
    assert codes.shape == (4, maker.code_size) == (4, 9)
    assert codes[:, 6:].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]]
    made = maker(codes)
    assert made.shape == (4, 3, maker.side, maker.side) == (4, 3, 16, 16)
    assert 0 <= made.min() < made.max() <= 1
    assert not torch.allclose(made[1], made[2])


def test_the_same_code_gives_the_same_picture_alone_in_double_and_in_another_layout() -> None:
    maker = small()
    for module in maker.modules():
        if hasattr(module, "strength"):
            torch.nn.init.constant_(module.strength, 0.3)
    codes = maker.codes(1, 3)
    made = maker(codes)
    assert torch.equal(made, maker(codes))
    assert torch.allclose(made[1:2], maker(codes[1:2]), atol=1e-5)
    assert torch.allclose(small_like(maker).double()(codes.double()).float(), made, atol=1e-4)
    last = small_like(maker).to(memory_format=torch.channels_last)
    assert torch.allclose(last(codes), made, atol=1e-5)
    maker.train()
    assert not torch.allclose(maker(codes), made, atol=1e-4)  # noise is drawn anew in training


def small_like(maker: Generator) -> Generator:
    again = small()
    again.load_state_dict(maker.state_dict())
    return again


def test_codes_are_drawn_from_the_callers_generator_or_from_seed_0() -> None:
    maker = small()
    assert torch.equal(maker.codes(1, 4), maker.codes(1, 4))
    other = maker.codes(1, 4, generator=torch.Generator().manual_seed(3))
    assert not torch.allclose(maker.codes(1, 4), other)
    many = maker.codes(0, 4000)[:, :6]
    assert abs(float(many.mean())) < 0.02
    assert abs(float(many.std()) - 1) < 0.02


def test_a_search_begins_between_the_classes_and_stays_where_codes_are() -> None:
    maker = small()
    begun = maker.start_codes(5)
    assert torch.allclose(begun[:, 6:], torch.tensor(1 / 3))
    low, high = maker.code_range
    assert low.tolist() == [-3] * 6 + [0] * 3
    assert high.tolist() == [3] * 6 + [1] * 3
    assert ((begun >= low) & (begun <= high)).float().mean() > 0.98


def test_pictures_and_strange_codes_are_refused() -> None:
    maker = small()
    with pytest.raises(ValueError, match=r"codes must have the shape \(N, 9\).*takes no pictures"):
        maker(torch.rand(2, 3, 16, 16))
    with pytest.raises(ValueError, match=r"got \(2, 6\)"):
        maker(torch.rand(2, 6))
    with pytest.raises(IndexError, match="0 to 2; got 3"):
        maker.codes(3, 2)
    with pytest.raises(ValueError, match="n must be"):
        maker.codes(1, 0)
    with pytest.raises(ValueError, match="n must be left out"):
        maker.codes(torch.tensor([0, 1]), 3)


def test_generators_are_no_classifiers() -> None:
    assert bundled_generators() == ["generator"]
    assert not {"generator"} & {*bundled_models(), *list_models()}
    with pytest.raises(ValueError, match="The nearest are 'generator'"):
        load_model("generater")


def test_the_bundled_one_keeps_its_contract_and_its_card() -> None:
    maker = load_model("generator")
    assert not any(m.training for m in maker.modules())
    assert maker.classes == list(CLASSES)
    assert maker.side == 64
    assert not hasattr(maker, "input_size")
    assert sum(p.numel() for p in maker.parameters()) <= 2_000_000
    with torch.no_grad():
        made = maker(maker.codes(3, 2))
    assert made.shape == (2, 3, 64, 64)
    card = maker.card
    assert card == json.loads((WEIGHTS / "generator.json").read_text())
    assert card["sha256"] == hashlib.sha256((WEIGHTS / "generator.safetensors").read_bytes()).hexdigest()
    assert card["takes"].startswith("codes")
    assert set(card["judged"]["named by class"]) == set(CLASSES)
    assert {"named", "spread", "frechet", "of real pictures"} <= set(card["judged"])
    assert {"recipe", "seed", "judge", "render_version", "labkit", "date", "parameters"} <= set(card)
