"""The explorer's traits, with `set_state` in the browser's place, against the library's own function."""

import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.attribution import occlusion
from labkit.widgets import OcclusionExplorer
from labkit.widgets.occlusion import FILLS

STOPS = {"windows": [4, 6, 8, 12, 16], "strides": [2, 4, 8]}


@pytest.fixture
def explorer(tiny, pictures):
    texts = {"labels": [1, "a wolf", 0], "names": ["one", "two", "three"]}
    widget = OcclusionExplorer(tiny, pictures, **texts, **STOPS)
    widget.wait_idle()
    yield widget
    widget.cancel = True
    widget.wait_idle()


def record_deliveries(widget):
    seen = []
    widget.observe(lambda change: seen.append(change["new"]), ["delivery", "photo"])
    return seen


def drops_of(answer):
    table = np.frombuffer(answer["data"], np.float32)
    return table.reshape(answer["rows"], answer["cols"], len(answer["columns"]) + 1)


@pytest.mark.parametrize("fill", FILLS)
def test_the_drops_sent_are_the_library_s_for_every_class(explorer, fill):
    from labkit.attribution import occlusion_result

    explorer.set_state({"window": 8, "stride": 4, "fill": fill})
    explorer.wait_idle()
    answer = explorer.delivery
    assert (answer["kind"], answer["window"], answer["fill"]) == ("drops", 8, fill)
    for k in range(4):
        options = {"window": 8, "stride": answer["stride"], "fill": fill}
        expected = occlusion_result(explorer.model, explorer.image, k, **options)
        got = drops_of(answer)[..., k]
        np.testing.assert_allclose(got, expected.drops[0].cpu().numpy(), atol=1e-5)


def test_winner_and_total_belong_to_the_same_patch(explorer):
    explorer.set_state({"window": 16, "stride": 4})
    explorer.wait_idle()
    answer = explorer.delivery
    photo = explorer.photo
    hidden = explorer.image.clone()
    hidden[..., 4:20, 8:24] = 0.5
    logits = explorer.model(hidden)[0].detach()
    r, c = 4 // answer["stride"], 8 // answer["stride"]
    drops = drops_of(answer)[r, c]
    np.testing.assert_allclose(np.array(photo["logits"]) - drops[:4], logits.numpy(), atol=1e-4)
    assert photo["total"] - drops[4] == pytest.approx(float(logits.logsumexp(0)), abs=1e-4)
    assert np.frombuffer(answer["winner"], np.uint16)[r * answer["cols"] + c] == int(logits.argmax())


def test_settings_are_the_arguments_of_the_map_on_view(explorer):
    explorer.set_state({"picture": 1, "target": 2, "window": 4, "stride": 8, "fill": "mean"})
    assert explorer.settings == {"target": 2, "window": 4, "stride": 4, "fill": "mean"}
    explorer.target = -1
    assert explorer.settings["target"] == int(explorer.model(explorer.image).argmax())


def test_the_ladder_is_computed_once_a_page_watches_and_then_nothing_is_asked_again(explorer, monkeypatch):
    monkeypatch.setattr("labkit.widgets.occlusion.LADDER", 1e9)  # however busy the machine is
    explorer.set_state({"watched": 1})
    explorer.wait_idle()
    calls = explorer.model.calls
    for window in explorer.windows:
        for fill in FILLS:
            explorer.set_state({"window": window, "fill": fill})
    explorer.wait_idle()
    assert explorer.model.calls == calls
    assert (explorer.status, explorer.progress) == ("ready", 1.0)


def test_without_a_page_only_the_setting_and_a_coarse_answer_are_computed(explorer):
    windows = [a["window"] for a in explorer._saved() if a["kind"] == "drops"]
    assert len(windows) <= 2
    assert explorer.window in windows


def test_a_page_opened_anew_is_sent_everything_again(explorer, monkeypatch):
    monkeypatch.setattr("labkit.widgets.occlusion.LADDER", 1e9)
    explorer.set_state({"watched": 1})
    explorer.wait_idle()
    seen = record_deliveries(explorer)
    explorer.set_state({"watched": 2})
    explorer.wait_idle()
    photos = {a["picture"] for a in seen if a["kind"] == "photo"}
    grids = {(a["window"], a["fill"]) for a in seen if a["kind"] == "drops"}
    assert photos == {0, 1, 2}
    assert grids == {(window, fill) for window in explorer.windows for fill in FILLS}


def test_settings_may_come_from_another_thread(explorer):
    thread = threading.Thread(target=lambda: explorer.set_state({"window": 12, "picture": 2}))
    thread.start()
    thread.join()
    explorer.wait_idle()
    assert (explorer.delivery["window"], explorer.delivery["picture"]) == (12, 2)


def slow(calls, seconds=0.05):
    def occlusion(model, images, target, *, window, stride, fill):
        calls.append((window, stride))
        for _ in range(int(seconds / 0.005)):
            time.sleep(0.005)  # stands for the work between two calls of the network
            model(images)
        return torch.full(images.shape[:1] + images.shape[2:], float(window))

    return occlusion


def test_own_function_is_given_a_grey_value(tiny, pictures):
    given = []

    def occlusion(model, images, target, window, stride, fill):
        given.append(fill)
        return torch.full((1, 32, 32), float(fill))

    widget = OcclusionExplorer(tiny, pictures, method=occlusion, **STOPS)
    for fill in widget.fills:
        widget.set_state({"fill": fill})
        widget.wait_idle()
    assert not widget.error
    assert set(given) == {0.0, 0.25, 0.5, 0.75, 1.0}
    widget.set_state({"fill": "white"})
    assert widget.settings["fill"] == 1.0


def test_own_function_draws_its_own_map(tiny, pictures):
    calls = []
    widget = OcclusionExplorer(tiny, pictures, method=slow(calls, 0.0), **STOPS)
    widget.wait_idle()
    seen = record_deliveries(widget)
    widget.set_state({"window": 4, "stride": 2, "target": 3})
    widget.wait_idle()
    maps = [a for a in seen if a["kind"] == "map" and a["window"] == 4]
    assert {(a["stride"], a["target"]) for a in maps} >= {(2, 3)}
    assert np.frombuffer(maps[0]["data"], np.float32).tolist() == [4.0] * 32 * 32
    assert widget.own_method
    assert (4, 2) in calls


def test_a_burst_of_forty_keys_costs_few_calls_of_the_function(tiny, pictures):
    calls = []
    widget = OcclusionExplorer(tiny, pictures, method=slow(calls), **STOPS)
    widget.wait_idle()
    calls.clear()
    for i in range(40):
        widget.set_state({"window": widget.windows[i % 5], "target": i % 4})
    widget.wait_idle()
    assert 1 <= len(calls) <= 15
    assert calls[-1][0] == widget.windows[39 % 5]


def test_cancel_interrupts_the_function_at_its_next_forward_pass(tiny, pictures):
    calls = []
    widget = OcclusionExplorer(tiny, pictures, method=slow(calls, 60), **STOPS)
    limit = time.monotonic() + 10
    while not calls and time.monotonic() < limit:
        time.sleep(0.001)
    widget.set_state({"cancel": True})
    widget.wait_idle(0.1)
    assert (widget.status, widget.error) == ("stopped", "")
    assert not tiny._forward_pre_hooks


def test_an_error_of_the_function_is_shown_with_its_line_and_goes_when_mended(tiny, pictures):
    def occlusion(model, images, target, *, window, stride, fill):
        if window > 8:
            return torch.zeros(1, 1) @ torch.zeros(2, 2)  # shapes that do not fit
        return torch.zeros(1, 32, 32)

    widget = OcclusionExplorer(tiny, pictures, method=occlusion, window=12, **STOPS)
    widget.wait_idle()
    assert widget.status == "error"
    assert widget.error.startswith("RuntimeError")
    assert "torch.zeros(1, 1) @ torch.zeros(2, 2)" in widget.error
    widget.set_state({"window": 8})
    widget.wait_idle()
    assert (widget.status, widget.error) == ("ready", "")


def test_a_map_of_the_wrong_shape_is_named(tiny, pictures):
    def wrong(model, images, target, *, window, stride, fill):
        return torch.zeros(4, 4)

    widget = OcclusionExplorer(tiny, pictures, method=wrong)
    widget.wait_idle()
    assert widget.error.startswith("ValueError: wrong must return a tensor of maps (N, H, W)")
    assert "here (1, 32, 32); got (4, 4)" in widget.error


def test_pictures_of_other_libraries_are_told_the_way_in(explorer):
    picture = Image.new("RGB", (16, 16))
    for images in (picture, [picture], np.asarray(picture), [np.asarray(picture)]):
        with pytest.raises(
            TypeError, match=r"images must be a tensor or a list .*labkit.data.load_photo\(path\)"
        ):
            OcclusionExplorer(explorer.model, images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": 5}, r"window must be one of \[4, 6"),
        ({"stride": 0}, "stride must be one of"),
        ({"fill": "gray"}, "Did you mean 'grey'"),
        ({"fill": 0.3}, "fill must be one of"),
        ({"target": 4}, "from 0 to 3; got 4"),
        ({"picture": 3}, "picture must be from 0 to 2; got 3"),
    ],
)
def test_illegal_settings_are_refused_in_words(explorer, change, message):
    name, value = next(iter(change.items()))
    before = getattr(explorer, name)
    with pytest.raises((ValueError, IndexError), match=message):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_a_photograph_sent_by_the_page_is_added_and_shown(explorer):
    rgb = np.arange(32 * 32 * 3, dtype=np.uint8)
    explorer.set_state({"upload": {"name": "mine", "width": 32, "height": 32, "data": rgb.tobytes()}})
    explorer.wait_idle()
    assert (explorer.picture, explorer.captions[3]["name"]) == (3, "mine")
    assert (explorer.image[0].permute(1, 2, 0) * 255).round().byte().flatten().tolist() == rgb.tolist()
    assert explorer.photo["picture"] == explorer.delivery["picture"] == 3


def test_a_path_that_leads_nowhere_is_answered_in_the_widget(explorer):
    explorer.set_state({"path": "no/such/photograph.jpg"})
    assert "photograph.jpg" in explorer.refused
    explorer.set_state({"window": explorer.windows[0]})  # whatever is computed then, it is not forgotten
    explorer.wait_idle()
    assert "photograph.jpg" in explorer.refused
    assert (explorer.status, explorer.error) == ("ready", "")


def test_a_photograph_by_path_takes_the_size_of_the_others(explorer, tmp_path):
    from PIL import Image

    Image.fromarray(np.full((48, 90, 3), 200, np.uint8)).save(tmp_path / "grey_wall.png")
    explorer.set_state({"path": str(tmp_path / "grey_wall.png")})
    explorer.wait_idle()
    assert explorer.error == ""
    assert explorer.captions[-1]["name"] == "grey wall"
    assert explorer.image.shape == (1, 3, 32, 32)


def test_a_picture_that_is_not_there_is_refused_from_the_start(tiny, pictures):
    with pytest.raises(IndexError, match="picture must be from 0 to 2; got 9"):
        OcclusionExplorer(tiny, pictures, picture=9)


def test_captions_name_the_truth(explorer):
    assert [(c["name"], c["truth"]) for c in explorer.captions] == [
        ("one", "horse"), ("two", "a wolf"), ("three", "fire engine"),
    ]  # fmt: skip


def test_many_classes_send_the_likeliest_and_the_chosen_one(pictures):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 200)).eval()
    widget = OcclusionExplorer(net, pictures, **STOPS)
    widget.wait_idle()
    columns = widget.delivery["columns"]
    assert len(columns) == 24
    other = next(k for k in range(200) if k not in columns)
    widget.set_state({"target": other})
    widget.wait_idle()
    assert other in widget.delivery["columns"]
    expected = occlusion(net, widget.image, other, window=widget.window, stride=widget.stride, fill="grey")
    assert float(expected.abs().max()) > 0


def test_pages_stay_small_and_keep_what_was_used_last(explorer, tmp_path):
    explorer.precompute(pictures=[0, 1], fills=["grey", "blur"])
    page = explorer.save_html(tmp_path / "page.html", title="a < b").read_text("utf-8")
    assert len(page) < 5e6
    assert "<title>a &lt; b</title>" in page
    with pytest.warns(UserWarning, match=r"The page holds \d+ of the \d+ answers"):
        small = explorer.to_html(limit_mb=0.2)
    assert len(small) < len(page)
    assert len(small) < 2.2e5


def test_repr_is_the_same_every_time(explorer):
    assert repr(explorer) == "OcclusionExplorer(model=Tiny, pictures=3, method=occlusion)"
