"""The patch explorer's traits, with `set_state` in the browser's place, against a patch pasted by hand."""

import numpy as np
import pytest
import torch

from labkit.adversarial import Patch, Placing
from labkit.adversarial.patches import draw_placing, paste
from labkit.widgets import PatchExplorer
from labkit.widgets.kit.patching import of_spectrum

AIM, LABELS = 2, [0, 1, 2]


@pytest.fixture
def patch():
    return torch.rand(3, 10, 10, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def judge(tiny):
    generator = torch.Generator().manual_seed(9)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 4))
    net[1].weight.data = torch.randn(4, 3 * 32 * 32, generator=generator) * 0.1
    return net.eval()


@pytest.fixture
def explorer(tiny, pictures, patch, judge):
    widget = PatchExplorer(
        tiny, pictures, patch, AIM, judge=judge, labels=LABELS, places=3, turns=(-30, 0, 30), sides=(25, 50)
    )
    widget.wait_idle()
    yield widget
    widget.cancel = True
    widget.wait_idle()


def laid(picture, piece, x, y, angle, side):
    """The piece laid over one 32 px picture by the library."""
    numbers = (torch.tensor([float(v)]) for v in (x / 32, y / 32, side / 100, angle, 1.0))
    return paste(picture, piece, Placing(*numbers), "disc")


def test_a_drag_a_turn_and_a_size_are_the_library_s(explorer, pictures, patch, tiny, judge):
    for state in (
        {}, {"place": [9, 20]}, {"angle": 40}, {"side": 31, "picture": 1},
    ):  # fmt: skip
        explorer.set_state(state)
        explorer.wait_idle()
        x, y = explorer.place
        made = laid(pictures[[explorer.picture]], patch, x, y, explorer.angle, explorer.side)
        assert torch.allclose(explorer.shown, made, atol=1e-6)
        for net, said in zip((tiny, judge), explorer.said.values(), strict=True):
            chances = net(made).softmax(1)[0]
            assert list(said) == [explorer.classes[k] for k in chances.argsort(descending=True)]
            assert list(said.values()) == pytest.approx(sorted(chances.tolist(), reverse=True), abs=1e-5)


def test_all_places_of_a_page_are_what_they_are_one_by_one(explorer):
    explorer.precompute(pieces=["grey"], tally=False)
    whole = explorer._cache.get(("grid", 0, "grey"))
    axes = whole["axes"]
    assert axes == {"x": [5, 16, 26], "y": [5, 16, 26], "angle": [-30, 0, 30], "side": [25, 50]}
    shape = (2, 2, 3, 3, 3, 4)
    p = np.frombuffer(whole["p"]["data"], np.float32).reshape(shape)
    named = np.frombuffer(whole["named"], np.int16).reshape(shape)
    aim = np.frombuffer(whole["aim"]["data"], np.float32).reshape(shape[:-1])
    explorer.piece = "grey"
    for s, a, j, i in ((0, 0, 0, 0), (1, 2, 1, 0), (1, 1, 2, 2)):
        explorer.set_state({
            "place": [axes["x"][i], axes["y"][j]], "angle": axes["angle"][a], "side": axes["side"][s],
        })  # fmt: skip
        explorer.wait_idle()
        for n, said in enumerate(explorer.said.values()):
            assert [explorer.classes[k] for k in named[n, s, a, j, i]] == list(said)
            assert p[n, s, a, j, i] == pytest.approx(list(said.values()), abs=1e-5)
            assert aim[n, s, a, j, i] == pytest.approx(said[explorer.classes[AIM]], abs=1e-5)


def test_the_counts_are_over_places_by_lot_on_scenes_of_other_classes(explorer, pictures, patch, tiny, judge):
    assert set(explorer.tallies) == {"learned", "cut", "texture", "grey"}
    lots = draw_placing(12, size=(0.25, 0.5), angle=30.0, light=0.0)
    hits = torch.zeros(2, dtype=torch.long)
    for picture in pictures[:2]:  # the third is of the class itself
        made = paste(picture[None].expand(12, -1, -1, -1), patch, lots, "disc")
        hits += torch.stack([(net(made).argmax(1) == AIM).sum() for net in (tiny, judge)])
    assert explorer.tallies["learned"]["of"] == 24
    assert explorer.tallies["learned"]["hits"] == hits.tolist()


def test_the_controls_are_of_the_patch_s_size(explorer, pictures, patch, tiny):
    found = explorer._laying.pieces
    assert all(piece.shape == (3, 10, 10) for piece in found.values())
    assert torch.equal(found["grey"], torch.full((3, 10, 10), 0.5))
    waves = [torch.fft.rfft2(piece).abs() for piece in (patch - 0.5, found["texture"] - 0.5)]
    assert float(torch.corrcoef(torch.stack([w.flatten() for w in waves]))[0, 1]) > 0.9
    assert not torch.allclose(found["texture"], patch, atol=0.2)
    surest = pictures[tiny(pictures).softmax(1)[:, AIM].argmax()]
    assert float((found["cut"].mean() - surest[:, 8:24, 8:24].mean()).abs()) < 0.02
    own = torch.zeros(3, 20, 30)
    widget = PatchExplorer(tiny, pictures, patch, AIM, cut=own)
    assert torch.equal(widget._laying.pieces["cut"], torch.zeros(3, 10, 10))
    assert torch.equal(of_spectrum(patch, 1), of_spectrum(patch, 1))


def test_a_result_brings_its_shape_and_one_network_will_do(tiny, pictures, patch):
    widget = PatchExplorer(tiny, pictures, Patch(patch, "square", torch.zeros(1), True), AIM)
    widget.wait_idle()
    assert widget.shape == "square"
    assert list(widget.said) == ["network"]
    assert repr(widget) == (
        "PatchExplorer(model=Tiny, pictures=3, pieces=['learned', 'cut', 'texture', 'grey'], judge=False)"
    )


def test_photographs_come_as_a_folder_and_by_hand(tiny, patch, tmp_path):
    from PIL import Image

    for k, colour in enumerate(("red", "green")):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{k}_{colour}.png")
    widget = PatchExplorer(tiny, tmp_path, patch, AIM)
    widget.wait_idle()
    before = widget.tallies["learned"]["of"]
    widget.load(tmp_path / "0_red.png")
    widget.wait_idle()
    assert (widget.picture, widget.error) == (2, "")
    assert len(widget.said["network"]) == 4
    assert widget.tallies["learned"]["of"] == before  # counted over the given ones


def test_what_does_not_exist_is_refused(explorer, tiny, pictures, patch):
    for trait, value, error, sentence in (
        ("piece", "gray", ValueError, "piece must be"), ("place", [32, 0], IndexError, "place must be"),
        ("place", [], IndexError, "place must be a pixel"), ("side", 0, ValueError, "side must be per cent"),
        ("picture", 9, IndexError, "picture must"),
    ):  # fmt: skip
        with pytest.raises(error, match=sentence):
            setattr(explorer, trait, value)
    with pytest.raises(TypeError, match="patch must be a square"):
        PatchExplorer(tiny, pictures, "a patch", AIM)
    with pytest.raises(ValueError, match="patch must be a square"):
        PatchExplorer(tiny, pictures, torch.zeros(3, 4, 5), AIM)
    with pytest.raises(ValueError, match="patch"):
        PatchExplorer(tiny, pictures, 300 * patch, AIM)
    with pytest.raises(IndexError, match="target"):
        PatchExplorer(tiny, pictures, patch, 4)
    for wrong in ({"places": 0}, {"sides": (0,)}, {"sides": ()}, {"shape": "star"}):
        with pytest.raises(ValueError, match="must be"):
            PatchExplorer(tiny, pictures, patch, AIM, **wrong)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 3)).eval()
    with pytest.raises(ValueError, match="judge must answer with the model's 4 classes; it gives 3"):
        PatchExplorer(tiny, pictures, patch, AIM, judge=other)
    with pytest.raises(ValueError, match="pieces must be one of"):
        explorer.precompute(pieces=["gray"])
