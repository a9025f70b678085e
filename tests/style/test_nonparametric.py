"""Efros-Leung on textures whose continuation is known."""

from __future__ import annotations

import pytest
import torch

from labkit.style import efros_leung, efros_leung_result
from labkit.style.nonparametric import ORDERS, best_windows


def checks(side: int, period: int = 4) -> torch.Tensor:
    line = torch.arange(side) % period < period // 2
    board = (line[:, None] ^ line[None]).float()
    return torch.stack([board, 1 - board, board * 0.5])[None]


@pytest.mark.parametrize("order", ORDERS)
def test_a_periodic_texture_is_reproduced(order: str) -> None:
    made = efros_leung(checks(16), side=20, window=7, order=order)
    assert any(
        torch.equal(made, checks(24)[:, :, down : down + 20, right : right + 20])
        for down in range(4)
        for right in range(4)
    )


def test_each_pixel_is_where_it_was_taken_from() -> None:
    texture = torch.rand(1, 3, 12, 10, generator=torch.Generator().manual_seed(1))
    found = efros_leung_result(texture, side=(9, 11), window=5)
    rows, columns = found.source.unbind(-1)
    assert torch.equal(found.image[0], texture[0][:, rows, columns])
    assert found.complete


def test_the_windows_are_those_of_a_plain_loop() -> None:
    draw = torch.Generator().manual_seed(2)
    windows, seen = torch.rand(40, 12, generator=draw), torch.rand(12, generator=draw)
    weights = torch.rand(12, generator=draw) * (torch.arange(12) % 3 > 0)
    away = [
        sum(float(w) * float(a - b) ** 2 for a, b, w in zip(one, seen, weights, strict=True))
        for one in windows
    ]
    wanted = [i for i, value in enumerate(away) if value <= 1.3 * min(away) + 1e-9]
    assert best_windows(windows, seen, weights, 0.3).tolist() == wanted


def test_stopped_the_rest_is_grey() -> None:
    asked = []
    found = efros_leung_result(
        checks(16), side=20, window=5, every=8, should_stop=lambda: len(asked) == 3 or asked.append(1)
    )
    assert not found.complete
    assert (found.image[0, 0] == 0.5).sum() == 400 - 9 - 24


def test_a_sample_smaller_than_the_seed_and_a_window_that_sees_nothing() -> None:
    texture = torch.rand(1, 3, 2, 2, generator=torch.Generator().manual_seed(3))
    found = efros_leung_result(texture, side=5, window=1)
    rows, columns = found.source.unbind(-1)
    assert torch.equal(found.image[0], texture[0][:, rows, columns])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"window": 4}, "window must be odd"),
        ({"window": 17}, "at most the texture's shorter side, 16; got 17. Take a smaller window"),
        ({"side": 0}, "side must be"),
        ({"order": "inward"}, "order must be one of"),
        ({"tolerance": -1}, "tolerance"),
    ],
)
def test_bad_options_are_refused(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        efros_leung(checks(16), **options)
    with pytest.raises(ValueError, match="texture must be one picture"):
        efros_leung(checks(16).repeat(2, 1, 1, 1), window=5)
