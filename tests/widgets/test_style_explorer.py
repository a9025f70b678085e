"""The style explorer's traits, with `set_state` in the browser's place, against the library's functions."""

import pytest
import torch

from labkit.style import style_transfer_result
from labkit.style.gram import color_matched
from labkit.widgets import StyleExplorer
from labkit.widgets.kit.dreams import correlation, gram_distance
from labkit.widgets.kit.worker import Stopped

LAYERS = {"style_layers": ["conv"], "content_layer": "conv"}
OPTIONS = {"steps": 6, "optimizer": "adam"}


class Blender(torch.nn.Module):
    """A picture tinted by the mix of three styles."""

    styles = 3

    def __init__(self):
        super().__init__()
        self.tints = torch.nn.Parameter(torch.eye(3))

    def forward(self, pictures, shares):
        return 0.5 * pictures + 0.5 * (shares @ self.tints)[:, :, None, None]


@pytest.fixture
def styles():
    return torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(9))


@pytest.fixture
def explorer(tiny, pictures, styles):
    widget = StyleExplorer(
        tiny, pictures, styles, network=Blender().eval(), options=OPTIONS, judge=tiny, judge_layers=["conv"],
        **LAYERS,
    )  # fmt: skip
    widget.wait_idle()
    yield widget
    widget.close()


def close(a, b):
    return torch.allclose(a, b, atol=1 / 254)


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, {}),
        ({"style": 2}, {}),
        ({"style_weight": 100.0, "content_weight": 0.1}, {"style_weight": 100.0, "content_weight": 0.1}),
        ({"keep_colors": True}, {"keep_colors": True}),
        ({"noise": True}, {"start": "noise"}),
    ],
)
def test_a_search_is_the_library_s_beside_its_controls(explorer, pictures, styles, changes, options):
    explorer.set_state({"picture": 1, **changes})
    explorer.wait_idle()
    like = styles[changes.get("style", 0)][None]
    wanted = style_transfer_result(explorer.model, pictures[1:2], like, **LAYERS, **OPTIONS, **options).images
    assert explorer.answer["complete"]
    assert close(explorer.frames[-1:], wanted)
    assert explorer.answer["at"] == [*([] if changes.get("noise") else [0]), 1, 2, 3, 4, 5, 6]
    held = torch.cat([wanted, pictures[1:2], color_matched(pictures[1:2], like)])
    last = [values[-1] for values in explorer.answer["lines"]]
    assert last[:3] == pytest.approx(gram_distance(explorer.model, held, like, ["conv"]).tolist(), rel=1e-3)
    assert last[3] == pytest.approx(float(correlation(wanted[0], pictures[1:2])[0]), abs=1e-5)
    assert last[4] == pytest.approx(float(correlation(wanted[0], pictures[[0, 2]]).mean()), abs=1e-5)


def test_a_blend_is_one_pass_a_stop_beside_the_cross_fade(explorer, pictures, styles):
    explorer.set_state({"mode": "blend"})
    explorer.wait_idle()
    net, answer = Blender(), explorer.answer
    assert answer["at"] == list(range(31))
    with torch.no_grad():
        for stop, shares in ((0, [1, 0, 0]), (15, [0, 0.5, 0.5]), (24, [0.4, 0, 0.6]), (30, [1, 0, 0])):
            wanted = net(pictures[:1], torch.tensor([shares], dtype=torch.float32))
            assert close(explorer.frames[stop : stop + 1], wanted)
            away = [
                float(gram_distance(explorer.model, wanted, styles[k : k + 1], ["conv"])[0]) for k in range(3)
            ]
            assert [values[stop] for values in answer["lines"][:3]] == pytest.approx(away, rel=1e-3)
            mixed = sum(a * share for a, share in zip(away, shares, strict=True))
            plain = sum(
                share * float(gram_distance(explorer.model, pictures[:1], styles[k : k + 1], ["conv"])[0])
                for k, share in enumerate(shares)
            )
            # a network that is linear in its shares blends as a cross-fade does
            assert [v[stop] for v in answer["lines"][3:]] == pytest.approx([mixed, mixed, plain], rel=1e-3)


def test_one_answer_has_all_blends_of_a_picture(explorer):
    explorer.set_state({"mode": "blend"})
    explorer.wait_idle()
    calls = explorer.model.calls
    explorer.set_state({"frame": 7, "style": 1, "noise": True})
    explorer.wait_idle()
    assert explorer.model.calls == calls


def test_a_stopped_search_goes_on_where_it_was(explorer, pictures, styles):
    told, seen = explorer._answered, []

    def stop_at_the_third(key, search):
        seen.append(search.run.done)
        if len(seen) == 3:
            explorer.cancel = True
        return told(key, search)

    explorer._answered = stop_at_the_third
    explorer.set_state({"style": 1})
    explorer.wait_idle()
    assert explorer.status == "stopped"
    assert not explorer.answer["complete"]
    kept = explorer.answer["at"]
    explorer.set_state({"watched": 1})  # a page is opened: the hand's stop is not undone
    explorer.wait_idle()
    assert explorer.answer["at"] == kept
    explorer.set_state({"resume": 1})
    explorer.wait_idle()
    assert explorer.answer["complete"]
    wanted = style_transfer_result(explorer.model, pictures[:1], styles[1:2], **LAYERS, **OPTIONS).images
    assert close(explorer.frames[-1:], wanted)


def test_a_search_that_a_newly_opened_page_cut_short_goes_on_to_its_end(explorer):
    key, parts = explorer._key({"style": 2}), []
    with pytest.raises(Stopped):
        explorer._answer(key, lambda: len(parts) > 0, parts.append)
    explorer.set_state({"style": 2, "watched": 1})
    explorer.wait_idle()
    assert explorer.answer["complete"]
    assert explorer.answer["at"] == [0, 1, 2, 3, 4, 5, 6]


def test_styles_come_from_a_folder_a_path_and_an_upload(explorer, tiny, pictures, tmp_path):
    from PIL import Image

    for name in ("red_wall", "blue_wall"):
        Image.new("RGB", (40, 50), name.split("_")[0]).save(tmp_path / f"{name}.png")
    widget = StyleExplorer(tiny, pictures, tmp_path, options=OPTIONS, **LAYERS)
    assert [entry["name"] for entry in widget.styles] == ["blue wall", "red wall"]
    assert tuple(widget.style_images[0].shape) == (3, 32, 32)
    widget.wait_idle()
    assert "style must vary over the picture" in widget.error  # one of one colour holds no texture
    widget.close()
    explorer.set_state({"style_path": str(tmp_path / "red_wall.png")})
    assert (explorer.style, explorer.styles[-1]["name"]) == (3, "red wall")
    explorer.set_state({"style_path": str(tmp_path / "no.png")})
    assert "no.png" in explorer.refused
    shown = torch.rand(32, 32, 3).mul(255).byte().numpy()
    photo = {"name": "mine", "width": 32, "height": 32, "cropped": False}
    explorer.set_state({"style_upload": {**photo, "data": shown.tobytes()}})
    assert (explorer.style, explorer.styles[-1]["name"], explorer.refused) == (4, "mine", "")
    explorer.set_state({"style_upload": {**photo, "data": b"12"}})
    assert "mine cannot be read" in explorer.refused
    explorer.wait_idle()


def test_what_does_not_exist_is_refused(explorer, tiny, pictures, styles, tmp_path):
    for trait, value, error, sentence in (
        ("style", 3, IndexError, "style must be from 0 to 2"), ("mode", "x", ValueError, "mode must be one"),
        ("style_weight", 3.0, ValueError, "style_weight must be one of"), ("frame", -2, IndexError, "frame"),
        ("content_weight", 3.0, ValueError, "content_weight must be one of"),
    ):  # fmt: skip
        with pytest.raises(error, match=sentence):
            setattr(explorer, trait, value)
    for given, error, sentence in (
        ({"options": {"step": 3}}, TypeError, "options knows no option 'step'. The nearest: 'steps'"),
        ({"style_weights": []}, ValueError, "style_weights must have at least one weight"),
        ({"content_weights": [-1.0]}, ValueError, "content_weights"),
        ({"style_names": ["a"]}, ValueError, "style_names must have a caption for each of 3"),
    ):  # fmt: skip
        with pytest.raises(error, match=sentence):
            StyleExplorer(tiny, pictures, styles, **given)
    with pytest.raises(ValueError, match="styles must begin with the 3 pictures"):
        StyleExplorer(tiny, pictures, styles[:2], network=Blender())
    with pytest.raises(ValueError, match="styles must be a folder with pictures"):
        StyleExplorer(tiny, pictures, tmp_path)
    with pytest.raises(ValueError, match="styles must have at least one picture"):
        StyleExplorer(tiny, pictures, [])
    alone = StyleExplorer(tiny, pictures, styles, options=OPTIONS, **LAYERS)
    assert repr(alone) == "StyleExplorer(model=Tiny, pictures=3, styles=3)"
    alone.set_state({"mode": "blend"})
    alone.wait_idle()
    assert "a blend needs a network of several styles" in alone.error
    alone.set_state({"mode": "search"})
    alone.wait_idle()
    alone.close()
