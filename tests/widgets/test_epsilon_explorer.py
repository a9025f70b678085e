"""The epsilon explorer's traits and counts, with `set_state` in the browser's place, against the attacks."""

import numpy as np
import pytest
import torch

from labkit.adversarial import HotSoftmax, Quantized, fgsm, pgd
from labkit.widgets import EpsilonExplorer
from labkit.widgets.kit.attacking import as_nibbles
from labkit.widgets.kit.worker import Stopped

LABELS = [0, 1, 2]
STOPS = [0.0, 0.05, 0.2]


@pytest.fixture
def explorer(tiny, pictures):
    widget = EpsilonExplorer(
        {"plain": tiny, "rounded": Quantized(tiny, 4)},
        pictures,
        labels=LABELS,
        epsilons=STOPS,
        steps=3,
        stop=2,
    )
    widget.wait_idle()
    yield widget
    widget.cancel = True
    widget.wait_idle()


def wanted(net, pictures, way, epsilon, explorer):
    """What the library makes of all pictures, one by one."""
    labels = torch.tensor(LABELS)
    if epsilon == 0:
        return pictures
    if way == "fgsm":
        return fgsm(net, pictures, labels, epsilon=epsilon)
    if way == "targeted":
        return pgd(net, pictures, torch.tensor(explorer.wanted), epsilon=epsilon, steps=3, targeted=True)
    return pgd(net, pictures, labels, epsilon=epsilon, steps=3)


@pytest.mark.parametrize("way", ["fgsm", "pgd", "targeted", "lent"])
def test_pictures_answers_and_counts_are_the_library_s(explorer, tiny, pictures, way):
    explorer.set_state({"way": way})
    explorer.wait_idle()
    assert explorer.error == ""
    aims = torch.tensor(explorer.wanted if way == "targeted" else LABELS)
    asked = torch.ones(3, dtype=torch.bool)
    for stop, epsilon in enumerate(STOPS):
        made = wanted(tiny, pictures, way, epsilon, explorer)
        scores = tiny(made)
        named, right = scores.argmax(1), tiny(pictures).argmax(1) == torch.tensor(LABELS)
        hit = (named == aims) if way == "targeted" else (named != aims)
        count = explorer.counts["plain"][way]
        assert count["fooled"][stop] == int((hit & right & asked).sum())
        assert count["right"] == int(right.sum())
        answer = explorer._cache.get(explorer._key())
        assert answer["named"][stop] == int(named[0])
        chances = np.frombuffer(answer["p"]["data"], np.float32).reshape(3, 4)[stop]
        assert chances == pytest.approx(scores.softmax(1)[0].detach().numpy(), abs=1e-5)
        explorer.stop = stop
        assert torch.allclose(explorer.attacked[:1], made[:1], atol=1e-6)


def test_rounding_leaves_no_gradient_and_says_so(explorer):
    counts = explorer.counts["rounded"]["fgsm"]
    assert counts["dead"] == [counts["right"]] * 3
    assert counts["fooled"] == [0, 0, 0]
    assert explorer._cache.get(explorer._key(network=1))["most"] == [0.0, 0.0, 0.0]
    assert explorer.counts["plain"]["fgsm"]["dead"] == [0, 0, 0]


def test_the_first_network_s_pictures_are_lent(explorer, pictures):
    explorer.set_state({"way": "lent"})
    explorer.wait_idle()
    first, lent = explorer.attacked
    assert torch.equal(first, lent)
    assert explorer._cache.get(explorer._key(network=1))["data"] == b""  # the page has them once
    assert explorer.counts["rounded"]["lent"]["dead"] == explorer.counts["plain"]["lent"]["dead"]


def test_controls_step_as_far_and_know_nothing(explorer, tiny, pictures):
    found = explorer._cache.get(explorer._key(way="sign"))
    assert found["most"] == pytest.approx([0.0, 0.05, 0.2], abs=1e-6)
    codes = np.frombuffer(found["data"], np.uint8)
    assert set(np.concatenate([codes >> 4, codes & 15])) == {1, 15}  # forwards or back, never nothing
    sign, _ = explorer._attacks.sign(0, "other", 0)
    partner = [i for i in (1, 2) if torch.equal(explorer._attacks.sign(i, "fgsm", 0)[0], sign)]
    assert len(partner) == 1
    assert {"sign", "other", "fgsm"} <= set(explorer.counts["plain"])


def test_what_is_sent_is_the_step_to_a_seventh(explorer, pictures):
    explorer.set_state({"way": "pgd"})
    explorer.wait_idle()
    sent = explorer._cache.get(explorer._key())["data"]
    codes = np.frombuffer(sent, np.uint8).reshape(2, -1)
    levels = (
        np.stack([codes >> 4, codes & 15], 2).reshape(2, 32, 32, 3).transpose(0, 3, 1, 2).astype(float) - 8
    )
    for k, epsilon in enumerate(STOPS[1:]):
        explorer.stop = k + 1
        step = (explorer.attacked[0] - pictures[0]).numpy()
        assert np.abs(levels[k] * epsilon / 7 - step).max() <= epsilon / 14 + 1e-6
    assert as_nibbles(torch.zeros(1, 1, 1, 1), [0.5]) == b"\x88"


def test_a_class_may_be_chosen_and_is_counted_for_all(explorer, pictures, tiny):
    explorer.set_state({"way": "targeted", "target": 3})
    explorer.wait_idle()
    count = explorer.counts["plain"]["targeted"]
    made = pgd(tiny, pictures, 3, epsilon=0.2, steps=3, targeted=True)
    right = tiny(pictures).argmax(1) == torch.tensor(LABELS)
    assert count["fooled"][2] == int(((tiny(made).argmax(1) == 3) & right).sum())
    explorer.set_state({"target": 0})  # the picture's own
    explorer.wait_idle()
    assert "target must be another class than the picture's own, 'fire engine'" in explorer.error


def test_a_saturated_softmax_is_counted_as_dead(tiny, pictures):
    named = tiny(pictures).argmax(1)
    widget = EpsilonExplorer(HotSoftmax(tiny, 1e5), pictures, labels=named, epsilons=[0.1], steps=1)
    widget.wait_idle()
    assert widget.counts["HotSoftmax"]["fgsm"]["dead"] == [3, 3]
    assert "lent" not in widget.ways


def test_photographs_come_as_a_folder_and_by_hand(tiny, tmp_path):
    from PIL import Image

    for k, colour in enumerate(("red", "green")):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{k}_{colour}.png")
    widget = EpsilonExplorer(tiny, tmp_path, epsilons=[0.1], steps=1)
    widget.wait_idle()
    assert [c["name"] for c in widget.captions] == ["0 red", "1 green"]
    assert widget.own == [c["top"][0] for c in map(widget._photo, (0, 1))]  # what the network names
    Image.new("RGB", (32, 32), "blue").save(tmp_path / "blue.png")
    widget.load(tmp_path / "blue.png")
    widget.wait_idle()
    assert (widget.picture, len(widget.own), len(widget.wanted)) == (2, 3, 3)
    assert widget.error == ""
    assert widget.attacked.shape == (2, 3, 32, 32)
    assert widget.counts["Tiny"]["fgsm"]["of"] == 2  # a photograph of one's own is not counted


def test_a_run_that_is_called_off_keeps_what_it_counted(explorer):
    seen = []

    def once(share):
        seen.append(share)
        explorer._worker.stop()

    with pytest.raises(Stopped):
        explorer._make(explorer._count_key("pgd", 0), lambda: bool(seen), once)
    before = explorer.model.calls
    explorer.precompute(ways=["pgd"], networks=[0])
    assert explorer.counts["plain"]["pgd"]["of"] == 3
    assert explorer.model.calls > before
    assert repr(explorer) == (
        "EpsilonExplorer(model=Tiny, pictures=3, networks=['plain', 'rounded'], epsilons=2)"
    )


def test_what_does_not_exist_is_refused(explorer, tiny, pictures):
    for trait, value, error, sentence in (
        ("way", "fgms", ValueError, "way must be"), ("stop", 3, IndexError, "stop must be from 0 to 2"),
        ("network", 2, IndexError, "network must be from 0 to 1"), ("picture", 9, IndexError, "picture must"),
        ("target", 99, IndexError, "class index"),
    ):  # fmt: skip
        with pytest.raises(error, match=sentence):
            setattr(explorer, trait, value)
    for epsilons in ([], [0.2, 0.1], [-0.1], [2.0]):
        with pytest.raises(ValueError, match="epsilons must be steps in picture values that rise"):
            EpsilonExplorer(tiny, pictures, epsilons=epsilons)
    with pytest.raises(ValueError, match="models must name at least one network"):
        EpsilonExplorer({}, pictures)
    with pytest.raises(ValueError, match="steps must be"):
        EpsilonExplorer(tiny, pictures, steps=0)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, 3)).eval()
    with pytest.raises(ValueError, match="models must answer with the same classes; 'b' gives 3"):
        EpsilonExplorer({"a": tiny, "b": other}, pictures)
    with pytest.raises(ValueError, match="ways must be one of"):
        explorer.precompute(ways=["noise"])
