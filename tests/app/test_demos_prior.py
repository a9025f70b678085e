"""The page of a generator prior: each step is the method's own, the judge's answer stands below."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from labkit.app import demos_prior
from labkit.app.cli import app
from labkit.app.demos import DEMOS
from labkit.data import CLASSES
from labkit.models import load_model
from labkit.visualization import dgn_am_result


@pytest.fixture(scope="module")
def data() -> dict:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demos_prior, "TICKS", (0, 1, 3))
        page = DEMOS["prior"]()
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    return json.loads(page.split('id="data">')[1].split("</script>")[0])


def test_a_picture_of_each_step_is_what_the_method_gives_after_so_many() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    maker = nn.Sequential(nn.Linear(5, 12), nn.Sigmoid(), nn.Unflatten(1, (3, 2, 2))).eval()
    given = {"start": torch.rand(2, 5)}
    film = demos_prior._searched(net, torch.tensor([0, 1]), maker, 3, **given)
    assert len(film) == 4
    assert torch.equal(film[0], maker(given["start"]))
    for steps in (1, 2, 3):
        images = dgn_am_result(net, torch.tensor([0, 1]), maker, steps=steps, **given).images
        assert torch.allclose(film[steps], images, atol=1e-6)
    assert not maker._forward_hooks


def test_by_lot_the_best_so_far_is_never_worse() -> None:
    model, maker = load_model("minivgg-2"), load_model("generator")
    film = demos_prior._by_lot(model, torch.arange(2), maker, 4)
    assert len(film) == 5
    with torch.no_grad():
        side = [nn.functional.interpolate(one, size=128, mode="bilinear") for one in film]
        liked = torch.stack([model(one).diagonal() for one in side])
    assert torch.equal(film[0], film[1])  # one code at least
    assert (liked.diff(dim=0) >= -1e-4).all()


def test_every_class_and_step_has_five_pictures_with_the_judges_answer(data: dict) -> None:
    assert data["sizes"] == [len(CLASSES), 3]
    assert data["ticks"] == ["0", "1", "3"]
    cells = data["cells"]
    titles = [panel["title"] for panel in cells[2]["panels"]]
    assert titles == [
        "a real picture", "plain ascent", "generator prior", "untrained prior", "best of 3 codes"
    ]  # fmt: skip
    assert cells[0]["panels"][4]["title"] == "a code by lot"
    assert {cell["panels"][0]["picture"] for cell in cells[:3]} == {0}
    assert len({cell["panels"][2]["picture"] for cell in cells}) == 3 * len(CLASSES)
    for cell in cells:
        assert "up minivgg-2's score the judge, minivgg-11, names" in cell["says"]
        for panel in cell["panels"]:
            names, shares = zip(*panel["bars"], strict=True)
            assert len(names) == 3
            assert sorted(shares, reverse=True) == list(shares)
            assert panel["words"].endswith(f"the judge says {names[0]}")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "squeezenet1_1"], "minivgg"),
        (["--model", "minivgg-scenes"], "scenes and layers are chosen for"),
        (["--photos", "."], "prior needs planted truth"),
    ],
)
def test_photographs_and_other_networks_are_refused_in_a_sentence(options: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["demo", "prior", "--no-browser", *options])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
