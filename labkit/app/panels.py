"""Pages of the concept labs: a fault corrected, sheet by sheet; the rating panel for units dealt blind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from labkit.app.sheets import Panel, Sheet, image_address, mosaic, page_html, sheets_html

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MENDING", "fix_html", "framed", "rate_html", "rating_html"]

RIGHT, WRONG = (0.1, 0.6, 0.25), (0.85, 0.15, 0.1)
SHOWN = 12  # engines of a colour on a page
UNITS, LAYER, SCENES = 12, "features.16", 300  # of each network, where, and over how many scenes


def framed(images: Tensor, right: Sequence[bool], width: int = 5) -> Tensor:
    """Pictures (N, 3, H, W) with a frame: green and whole where they are right, red and broken elsewhere."""
    import torch

    found = images.clone()
    side = images.shape[-1]
    for picture, good in zip(found, right, strict=True):
        edge = torch.zeros(side, side, dtype=torch.bool)
        for rows in (slice(0, width), slice(side - width, side)):
            edge[rows] = True
            edge[:, rows] = True
        if not good:  # told apart by more than colour
            number = torch.arange(side) // 8
            edge &= (number[:, None] + number[None]) % 2 == 0
        for channel, value in enumerate(RIGHT if good else WRONG):
            picture[channel][edge] = value
    return found


def fix_html(model: str = "minivgg-melbourne") -> str:
    """Engines red and yellow with the edit switched off and on, and beside it what else one could do."""
    import torch

    from labkit.concepts import project_out
    from labkit.data import CLASSES
    from labkit.evaluation import random_directions
    from labkit.experiments.bench import Bench
    from labkit.experiments.finding_and_fixing import HEAD, RED, YELLOW, head_of, named, retrained, shown

    bench, kind = Bench("class"), "fire engine"
    label = CLASSES.index(kind)
    from labkit.models import load_model

    network = load_model(model)
    others = [name for name in CLASSES if name != kind]
    pictures = shown(bench, kind, RED, YELLOW, rest=others)
    sets = pictures.read_by(network)
    fitted = torch.cat([sets.present, sets.absent])
    red = (sets.present - sets.absent).mean(0)
    cloud = torch.cat([sets.others, fitted])
    out: dict[str, Any] = {"layer": HEAD, "row": label, "features": fitted}
    ways = {
        "no edit": head_of(network),
        "red taken out": head_of(project_out(network, red, **out)),
        "a random direction": head_of(project_out(network, random_directions(cloud, 1)[0], **out)),
        "the row's own weights": head_of(
            project_out(network, head_of(network).weight[label].detach(), **out)
        ),
        "last layer trained anew": retrained(bench, network),
    }

    def of(name: str, head: Any) -> Sheet:
        found = named(head, sets, label)
        shares = [float(part.float().mean()) for part in found]
        says = (
            f"{name[0].upper() + name[1:]}: of red engines {shares[0]:.0%} are named, of the same in yellow "
            f"{shares[1]:.0%}, of the other eleven classes {shares[2]:.1%} ({len(sets.labels)} scenes)."
        )
        panels = []
        for title, drawn, right in (("red", pictures.with_it, found.with_it),
                                    ("yellow", pictures.without, found.without)):  # fmt: skip
            few = drawn[:SHOWN].float() / 255
            words = f"{int(right[:SHOWN].sum())} of {len(few)} engines painted {title} are named rightly"
            panels.append(Panel(f"{title}: {words.split(' are')[0].split(' engines')[0]} right",
                                mosaic(framed(few, right[:SHOWN].tolist()), 4, 4), words))  # fmt: skip
        return Sheet(name, says, panels)

    return sheets_html("Can a found fault be corrected?", [of(*way) for way in ways.items()], "Edit")


def rating_html(question: str, items: Sequence[Tensor]) -> str:
    """The rating panel: one item after the other, yes or no, saved as CSV (rater, item, answer, what)."""
    if not items:
        raise ValueError("items must be at least one picture to rate; got none.")
    return page_html("rating.html", question, [image_address(item) for item in items])


def rate_html(model: str = "minivgg") -> str:
    """Units of a network and of its twin in an order by lot, nine patches each, to be rated by people.

    The key is `labkit.concepts.ratings.dealt_blind({"network": 12, "twin": 12})`.
    """
    import torch

    from labkit.concepts.ratings import dealt_blind
    from labkit.data import MiniBroden
    from labkit.evaluation import twin
    from labkit.models import load_model
    from labkit.visualization import top_patches

    scenes, _ = MiniBroden(SCENES, "test").pictures()
    network = load_model(model)
    untrained = twin(network, scenes[:128])
    sheets = {}
    for name, own in (("network", network), ("twin", untrained)):
        width = dict(own.named_modules())["features.14"].weight.shape[0]
        units = torch.randperm(width, generator=torch.Generator().manual_seed(0))[:UNITS].tolist()
        patches = top_patches(own, scenes, LAYER, units=units, count=9)
        sheets[name] = [mosaic(unit, 3, 2) for unit in patches]
    order = dealt_blind({name: len(own) for name, own in sheets.items()})
    return rating_html("Do these nine share one thing?", [sheets[name][k] for name, k in order])


def _fix(model: str = "minivgg") -> str:
    """Engines red and yellow with a fault's edit off and on, beside random edits and a new last layer."""
    return fix_html("minivgg-bothcities" if model == "minivgg-bothcities" else "minivgg-melbourne")


def _rate(model: str = "minivgg") -> str:
    """Units of a network and its untrained twin, dealt blind: do nine patches share a thing? People say."""
    return rate_html(model)


MENDING: dict[str, Callable[..., str]] = {"fix": _fix, "rate": _rate}
