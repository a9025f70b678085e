"""The overlay explorer's traits: what it sends has the library's cosines, and fits the page."""

import pytest
import torch

from labkit.concepts import similarity_map
from labkit.concepts.overlay import place_at
from labkit.widgets import OverlayExplorer
from labkit.widgets.kit.overlays import layers_of, pairs_of, sizes_within


@pytest.fixture
def net():
    generator = torch.Generator().manual_seed(2)
    layers = [
        torch.nn.Conv2d(3, 12, 3, 2, 1),
        torch.nn.ReLU(),
        torch.nn.Conv2d(12, 20, 3, 2, 1),
        torch.nn.ReLU(),
    ]
    model = torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(20, 4)
    )
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    model.classes, model.input_size = ["fire engine", "horse", "tree", "wolf"], 32
    return model.eval()


@pytest.fixture
def explorer(net, pictures):
    widget = OverlayExplorer(net, pictures)
    widget.wait_idle()
    yield widget
    widget.close()
    widget.wait_idle()


@pytest.mark.parametrize("layer", ["1", "3"])
@pytest.mark.parametrize(("picture", "place"), [(0, [3, 30]), (2, [31, 0])])
def test_the_cosines_are_the_library_s(explorer, net, pictures, layer, picture, place):
    explorer.set_state({"layer": layer, "picture": picture, "place": place})
    explorer.wait_idle()
    side = {"1": 16, "3": 8}[layer]
    at = place_at(*place, (32, 32), (side, side))
    expected = similarity_map(net, pictures, layer=layer, picture=picture, place=at)
    worst = float((torch.stack(explorer.similarity) - expected).abs().max())
    assert worst <= explorer.cosine_error + 1e-6
    assert explorer.cosine_error < 0.01


def test_what_does_not_fit_is_projected_and_its_error_said(net, pictures, monkeypatch):
    monkeypatch.setattr("labkit.widgets.overlay.ROOM", (2 * 20 * 3 * 64 + 3 * 3 * 1024) * 4 / 3 + 1)
    monkeypatch.setattr("labkit.widgets.kit.overlays.LEAST", 2)
    widget = OverlayExplorer(net, pictures, layer="1", place=[8, 8])
    widget.wait_idle()
    assert (widget._sizes[("1", 0)], widget._sizes[("3", 0)]) == (5, 20)
    expected = similarity_map(net, pictures, layer="1", picture=0, place=(4, 4))
    worst = float((torch.stack(widget.similarity) - expected).abs().max())
    assert 0.005 < worst <= widget.cosine_error + 1e-6
    assert (widget.delivery["count"], widget.delivery["of"]) == (5, 12)


def test_zero_vectors_are_like_nothing(net, pictures):
    net[0].bias.data -= 2  # some places are silent
    widget = OverlayExplorer(net, pictures, layer="1", place=[0, 0])
    widget.wait_idle()
    codes = torch.frombuffer(bytearray(widget.delivery["data"]), dtype=torch.int8).view(16, 16, 12)
    silent = (codes == 0).all(-1)
    assert 0 < int(silent.sum()) < 256
    assert not any(bool(found.isnan().any()) for found in widget.similarity)
    assert not widget.similarity[0][silent].any()


def test_a_second_network_has_features_of_its_own(net, pictures, tiny):
    widget = OverlayExplorer(
        net, pictures, layers=["1"], beside=tiny, beside_layers=["conv"], titles=("a", "b")
    )
    widget.wait_idle()
    assert (widget.both, widget.titles, len(widget.layers)) == (True, ["a", "b"], 1)
    assert widget.layers[0]["of"] == ["1", "conv"]
    kinds = {(a["picture"], a["network"]) for a in widget._saved() if a["kind"] == "features"}
    assert kinds == {(p, n) for p in range(3) for n in range(2)}
    widget.set_state({"both": False})
    widget.wait_idle()
    assert widget.error == ""


def test_an_exported_page_has_all_layers_of_what_was_precomputed(explorer):
    explorer.precompute(pictures=[1])
    kinds = {(a["picture"], a["layer"]) for a in explorer._saved() if a["kind"] == "features"}
    assert {(1, "1"), (1, "3")} <= kinds


def test_a_photograph_joins_the_others_and_a_seventh_takes_the_last_place(net):
    shown = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    widget = OverlayExplorer(net, shown)
    widget.wait_idle()
    rgb = (shown[0].permute(1, 2, 0) * 255).byte().numpy().tobytes()
    widget.set_state({"upload": {"name": "mine", "width": 32, "height": 32, "data": rgb}})
    widget.wait_idle()
    assert (widget.picture, widget.place, widget.on_view) == (6, [], [0, 1, 2, 3, 4, 6])
    assert widget.similarity is None
    widget.set_state({"place": [5, 5]})
    widget.wait_idle()
    at = place_at(5, 5, (32, 32), (16, 16))
    expected = similarity_map(
        net, torch.cat([shown[:5], widget.images[6][None]]), layer="1", picture=5, place=at
    )
    assert float((torch.stack(widget.similarity) - expected).abs().max()) <= widget.cosine_error + 1e-6


def test_it_begins_in_the_middle_of_the_object(net, pictures):
    masks = torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[0, 4:9, 20:25] = True
    widget = OverlayExplorer(net, pictures, masks=masks)
    assert widget.place == [22, 6]
    assert OverlayExplorer(net, pictures).place == [16, 16]


def test_layers_are_blocks_and_relus_of_one_depth_from_early_to_late(net):
    assert list(layers_of(net, torch.rand(1, 3, 32, 32))) == ["1", "3"]

    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x):
            return torch.relu(x + self.conv(x))

    deep = torch.nn.Sequential(*(Block() for _ in range(9))).eval()
    assert list(layers_of(deep, torch.rand(1, 3, 16, 16))) == ["0", "2", "3", "5", "6", "8"]
    with pytest.raises(ValueError, match=r"none was found"):
        layers_of(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval(), torch.rand(1, 3, 2, 2)
        )


def test_room_is_shared_and_never_passed_where_layers_are_large():
    rows = pairs_of([{"a": (1, 64, 50, 50), "b": (1, 32, 10, 10), "c": (1, 128, 30, 30)}])
    sizes = sizes_within(rows, 4, 400_000)
    assert sizes[("b", 0)] == 32
    assert 8 < sizes[("a", 0)] < 64
    assert sum(sizes[(r["name"], 0)] * 4 * r["sides"][0][1] * r["sides"][0][2] for r in rows) <= 400_000


def test_bad_layers_and_places_get_a_sentence(net, pictures, tiny, explorer):
    with pytest.raises(KeyError, match="7"):
        OverlayExplorer(net, pictures, layers=["7"])
    with pytest.raises(ValueError, match=r"layer must give a feature map .*'5' gives"):
        OverlayExplorer(net, pictures, layers=["5"])
    with pytest.raises(
        ValueError, match=r"beside_layers must name a layer for each of the first network's 2"
    ):
        OverlayExplorer(net, pictures, beside=tiny, beside_layers=["conv"])
    with pytest.raises(IndexError, match=r"place must be \[\] or a pixel \[x, y\] of a picture of 32 x 32"):
        explorer.place = [32, 0]
    with pytest.raises(ValueError, match="layer must be"):
        explorer.layer = "0"
