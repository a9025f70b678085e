"""The activation explorer's traits, with `set_state` in the browser's place, against the library."""

import numpy as np
import pytest
import torch

from labkit.data import MiniBroden
from labkit.models import direction, features
from labkit.plots import for_the_eye
from labkit.visualization import (
    activation_grid,
    guided_patches,
    packing_result,
    top_patches,
    top_patches_result,
    visualize,
)
from labkit.widgets import ActivationExplorer
from labkit.widgets.unit_answers import ascent


class Net(torch.nn.Module):
    """Two convolutions with ReLUs, one of them dead; four classes, 32 px."""

    def __init__(self):
        super().__init__()
        self.first, self.relu = torch.nn.Conv2d(3, 4, 5, 2, 2), torch.nn.ReLU()
        self.second, self.last = torch.nn.Conv2d(4, 6, 3, 1, 1), torch.nn.ReLU()
        self.head, self.classes = torch.nn.Linear(6, 4), ["a", "b", "c", "d"]
        generator = torch.Generator().manual_seed(2)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.4
        self.second.bias.data[5] = -100.0

    def forward(self, x):
        return self.head(self.last(self.second(self.relu(self.first(x)))).mean((2, 3)))


def synthesize(model, layer, channel, *, steps, should_stop):
    return torch.full((3, 32, 32), channel / 10)


@pytest.fixture
def explorer(pictures):
    widget = ActivationExplorer(Net().eval(), pictures, synthesize=synthesize, names=["x", "y", "z"])
    widget.wait_idle()
    yield widget
    widget.cancel = True
    widget.wait_idle()


def answer(explorer, kind):
    keys = [key for key in explorer._wanted() if key[0] == kind]
    return explorer._cache.get(keys[-1])


def test_it_knows_the_layers_and_begins_at_the_loudest_channel(explorer):
    assert [one["name"] for one in explorer.layers] == ["relu", "last"]
    assert explorer.layers[1]["said"] == "a unit of 'last' sees 9 x 9 pixels, one every 2 pixels"
    assert explorer.layer == "last"
    assert explorer.channel == int(explorer.grid.flatten(1).amax(1).argmax())
    assert repr(explorer) == "ActivationExplorer(model=Net, pictures=3, layers=['relu', 'last'])"


def test_the_grid_and_the_patches_are_the_library_s(explorer, pictures):
    explorer.set_state({"picture": 1, "layer": "relu", "channel": 2})
    explorer.wait_idle()
    assert explorer.status == "ready"
    grid = activation_grid(explorer.model, pictures[1:2], "relu")[0]
    assert torch.allclose(explorer.grid, grid)
    sent = np.frombuffer(answer(explorer, "grid")["data"], np.float32).reshape(grid.shape)
    assert np.allclose(sent, grid)
    found = top_patches_result(explorer.model, pictures, "relu")
    shown = answer(explorer, "patches")
    assert shown["pictures"] == found.pictures[2].tolist()
    assert shown["values"] == pytest.approx(found.values[2].tolist())
    assert (shown["fired"], shown["seen"]) == (int(found.fired[2]), 3)
    side = shown["side"]
    patches = top_patches(explorer.model, pictures, "relu", units=[2])[0]
    guided = for_the_eye(guided_patches(explorer.model, pictures, "relu", units=[2])[0])
    for name, right in (("data", patches), ("guided", guided)):
        got = np.frombuffer(shown[name], np.uint8).reshape(9, side, side, 3)[:3, :: side // 5, :: side // 5]
        assert np.abs(got / 255 - right[:3].permute(0, 2, 3, 1).numpy()).max() < 0.01, name


def test_a_coarse_picture_is_made_before_the_fine_one(explorer):
    steps = [key[4] for key in explorer._wanted() if key[0] == "synth"]
    assert steps == sorted(steps)
    made = answer(explorer, "synth")
    assert made["steps"] == steps[-1]
    assert made["data"][0] == round(explorer.channel / 10 * 255)


def test_a_channel_that_never_fires_says_so(explorer):
    explorer.set_state({"channel": 5})
    explorer.wait_idle()
    shown = answer(explorer, "patches")
    assert shown["fired"] == 0
    assert shown["pictures"] == [-1] * 9
    assert explorer.top.silent == [5]


def test_a_layer_with_fewer_channels_begins_anew(explorer):
    explorer.set_state({"channel": 4})
    explorer.layer = "relu"
    assert explorer.channel == 0
    explorer.wait_idle()
    assert explorer.error == ""


def test_all_channels_of_a_layer_are_sought_in_one_pass(explorer, monkeypatch):
    asked = []
    monkeypatch.setattr("labkit.visualization.top_patches_result", lambda *a, **k: asked.append(a))
    for channel in range(5):
        explorer.set_state({"channel": channel})
        explorer.wait_idle()
    assert asked == []


def test_a_network_with_other_bends_has_no_guided_patches(pictures):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 3, 3), torch.nn.GELU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )
    widget = ActivationExplorer(net.eval(), pictures, synthesize=False)
    widget.wait_idle()
    assert [one["name"] for one in widget.layers] == ["0", "1"]
    assert "bend its signal by ReLU" in answer(widget, "patches")["refusal"]
    assert widget.synthesizes is False


def test_large_maps_are_sent_smaller(pictures):
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3, 1, 1), torch.nn.ReLU(), torch.nn.Flatten()).eval()
    big = torch.rand(1, 3, 80, 80, generator=torch.Generator().manual_seed(0))
    widget = ActivationExplorer(net, big, synthesize=False)
    widget.wait_idle()
    entry = widget.layers[0]
    assert (entry["height"], entry["step"]) == (27, 3)
    sent = np.frombuffer(answer(widget, "grid")["data"], np.float32).reshape(2, 27, 27)
    assert sent[0, 1, 2] == pytest.approx(float(widget.grid[0, 3:6, 6:9].max()))


def test_wrong_values_are_told(explorer, pictures):
    with pytest.raises(ValueError, match="layer must be one of 'relu', 'last'; got 'lasst'"):
        explorer.layer = "lasst"
    with pytest.raises(IndexError, match="channel must be from 0 to 5; got 6. There are 6 channels in layer"):
        explorer.channel = 6
    with pytest.raises(KeyError, match="nearest are 'relu'"):
        ActivationExplorer(explorer.model, pictures, layers=["rellu"])
    with pytest.raises(ValueError, match="layers that give feature maps"):
        ActivationExplorer(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 4)).eval(), pictures)


def test_the_model_is_left_as_it_was(explorer):
    before = {k: v.clone() for k, v in explorer.model.state_dict().items()}
    explorer.precompute(pictures=[0, 1], layers=["relu", "last"], channels=2)
    assert all(torch.equal(v, before[k]) for k, v in explorer.model.state_dict().items())
    assert all(not m._forward_hooks for m in explorer.model.modules())


def test_a_picture_is_made_for_the_values_at_a_pinned_place(pictures):
    asked = []

    def made(model, layer, channel, *, steps, should_stop):
        asked.append((layer, channel, steps))
        return torch.full((3, 32, 32), 0.5)

    explorer = ActivationExplorer(Net().eval(), pictures, synthesize=made, steps=(2, 5))
    explorer.wait_idle()
    asked.clear()
    explorer.set_state({"place": [9, 20]})
    explorer.wait_idle()
    grid = activation_grid(explorer.model, pictures[:1], "last")[0]
    (first, second) = [(vector, steps) for _, vector, steps in asked]
    assert (first[1], second[1]) == (2, 5)
    # of units one every 2 pixels, the one whose field's middle is nearest to pixel (9.5, 20.5)
    assert torch.allclose(first[0], grid[:, 10, 4]) or torch.allclose(first[0], grid[:, 10, 5])
    key = explorer._of_place(0, "last", [9, 20])[-1]
    sent = explorer._cache.get(key)
    assert (sent["kind"], sent["unit"], sent["steps"], sent["channel"]) == ("here", list(key[3:5]), 5, -1)
    assert set(sent["data"]) == {128}
    explorer.set_state({"place": []})
    assert not [key for key in explorer._wanted() if key[0] == "here"]


def test_where_all_channels_are_silent_nothing_is_made(pictures):
    model = Net().eval()
    model.second.bias.data[:] = -100.0
    explorer = ActivationExplorer(model, pictures, synthesize=synthesize, place=[3, 3])
    explorer.wait_idle()
    assert explorer._of_place(0, "last", [3, 3]) == []


def test_the_library_makes_a_picture_for_a_vector():
    model, vector = Net().eval(), torch.tensor([0.0, 2.0, 0.0, 1.0, 0.0, 0.0])
    model.input_size = 32
    made = ascent(model, "last", vector, steps=3)
    assert torch.equal(made, visualize(model, direction("last", vector), steps=3)[0])


def test_what_a_channel_holds_is_told_where_labels_are_known(pictures):
    stack = MiniBroden(6, "test").stack()
    images = torch.from_numpy(stack.images[:2].copy()).permute(0, 3, 1, 2) / 255
    torch.manual_seed(0)
    parts = torch.nn.Conv2d(3, 4, 8, 8), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    net = torch.nn.Sequential(*parts).eval()
    explorer = ActivationExplorer(net, images, data=stack, synthesize=False, channel=2)
    explorer.wait_idle()
    told = answer(explorer, "patches")["holds"]
    maps = features(explorer.model, stack.images, "1", pool=None)
    names = MiniBroden.names["object"][1:]
    labels = torch.as_tensor(stack.maps["object"].astype(int))
    packed = packing_result(maps, labels, concepts=len(names))
    assert told, "this channel holds something"
    for name, share, chance in [one for one in told if one[0] in names]:
        number = names.index(name)
        assert (share, chance) == (
            float(packed.overlap[explorer.channel, number]), float(packed.chance[number])
        )  # fmt: skip
    assert len(told) <= 3
    plain = ActivationExplorer(Net().eval(), pictures, synthesize=False)
    plain.wait_idle()
    assert answer(plain, "patches")["holds"] is None
