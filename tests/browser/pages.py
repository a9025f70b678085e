"""One saved page of each explorer, for the rules that all of them obey.

A new explorer is held to every rule by a line in ``EXPLORERS``: it is given the network, three pictures and
where their truth lies, and computes what its page is to know of the first two.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, NamedTuple

import torch

from labkit.adversarial import HotSoftmax, Quantized
from labkit.widgets import (
    ActivationExplorer,
    AscentExplorer,
    Comparer,
    DissectionExplorer,
    DreamExplorer,
    EmbeddingExplorer,
    EpsilonExplorer,
    MaskExplorer,
    OcclusionExplorer,
    OverlayExplorer,
    PatchExplorer,
    SanityExplorer,
    StyleExplorer,
    TcavExplorer,
)

SIDE = 64
CLASSES = ["fire engine", "horse", "zebra", "wolf", "tank", "deer", "cow", "bus", "car", "tree", "dog", "cat"]
METHODS = ["saliency", "gradient_x_input", "guided_backprop", "grad_cam", "deconvnet", "excitation_backprop"]


def network() -> torch.nn.Module:
    """Six layers with weights, twelve classes, 64 px."""
    generator = torch.Generator().manual_seed(5)
    layers: list[torch.nn.Module] = []
    for inside, outside, stride in [(3, 8, 2), (8, 8, 1), (8, 12, 2), (12, 12, 1), (12, 12, 2)]:
        layers += [torch.nn.Conv2d(inside, outside, 3, stride, 1), torch.nn.ReLU()]
    net = torch.nn.Sequential(
        *layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(12, 12)
    )
    for parameter in net.parameters():
        spread = 1.6 / max(1, parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.05
        parameter.data = torch.randn(parameter.shape, generator=generator) * spread
    net[-1].weight.data *= 6
    net.classes = CLASSES  # type: ignore[assignment]
    return net.eval()


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Three of them, a block of colour in each, and where it lies."""
    shown = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3)) * 0.3 + 0.3
    masks = torch.zeros(3, SIDE, SIDE, dtype=torch.bool)
    for k in range(3):
        masks[k, 10 + 10 * k : 34 + 10 * k, 20:44] = True
        shown[k] = torch.where(masks[k], torch.tensor([0.9, 0.15, 0.1])[:, None, None].roll(k, 0), shown[k])
    return shown, masks


def occlusion(net: Any, images: Any, **given: Any) -> OcclusionExplorer:
    stops = {"windows": [16, 24, 32], "strides": [8, 16]}
    explorer = OcclusionExplorer(net, images, window=24, stride=8, **stops, **given)
    explorer.precompute(pictures=[0], fills=["grey", "black"])
    explorer.precompute(pictures=[1])
    return explorer


def comparer(net: Any, images: Any, **given: Any) -> Comparer:
    explorer = Comparer(net, images, methods=METHODS, **given)
    explorer.precompute(pictures=[0, 1])
    explorer.precompute(pictures=[0], targets=[3, 5])
    return explorer


def masks(net: Any, images: Any, **given: Any) -> MaskExplorer:
    explorer = MaskExplorer(net, images, steps=2, **given)
    explorer.precompute(pictures=[0, 1])
    explorer.precompute(pictures=[0], targets=[3], modes=["preserve"])
    return explorer


def sanity(net: Any, images: Any, **given: Any) -> SanityExplorer:
    explorer = SanityExplorer(net, images, methods=METHODS[:4], **given)
    explorer.precompute(pictures=[0, 1])
    return explorer


def embedding(net: Any, images: Any, **_: Any) -> EmbeddingExplorer:
    """Forty pictures of two kinds that lie apart; DeepMDS was not computed."""
    generator = torch.Generator().manual_seed(2)
    kinds = torch.arange(40) % 2
    rows = torch.randn(40, 5, generator=generator) + 6 * kinds[:, None]
    shown = images[:1].expand(40, -1, -1, -1) * torch.rand(40, 3, 1, 1, generator=generator)
    explorer = EmbeddingExplorer(
        net, shown, features=rows, groups={"kind": (["left", "right"], kinds)}, perplexities=(3, 8),
        perplexity=8, steps=60, names=[f"block {i + 1}" for i in range(40)],
    )  # fmt: skip
    explorer.precompute([0, 1])
    return explorer


def dissection(net: Any, images: Any, **_: Any) -> DissectionExplorer:
    """Twelve pictures, a label map of blocks; three layers, of which the last was not computed; of a training
    two snapshots and its end."""
    generator = torch.Generator().manual_seed(4)
    shown = images.repeat(4, 1, 1, 1) * (0.6 + 0.4 * torch.rand(12, 3, 1, 1, generator=generator))
    maps = {"object": (shown.amax(1) > 0.5).numpy().astype("uint8"), "colour": 1 + shown.argmax(1).numpy()}
    trained = {f"after {epochs}": _kept(net, epochs) for epochs in (1, 4, 8)}
    explorer = DissectionExplorer(
        trained, shown, layers=["3", "5", "9"], maps=maps, powers=(0.0, 1.0), quantiles=(0.02, 0.1),
        names={"object": ("block",), "colour": ("red", "green", "blue")},
    )  # fmt: skip
    explorer.precompute([0, 1, 3, 4, 6, 7], [0, 1])
    return explorer


def _kept(net: Any, epochs: int) -> Any:
    """A network as it may have been after some epochs of eight."""
    found = copy.deepcopy(net)
    with torch.no_grad():
        for weight in found.parameters():
            weight.mul_(
                epochs / 8 + 0.2 * torch.rand(weight.shape, generator=torch.Generator().manual_seed(epochs))
            )
    found.card = {"snapshot": {"of": "net", "after epochs": epochs}}
    return found


def half_grey(net: Any, layer: str, channel: int, **options: Any) -> torch.Tensor:
    return torch.full((3, SIDE, SIDE), channel / 12)


def activation(net: Any, images: Any, **given: Any) -> ActivationExplorer:
    explorer = ActivationExplorer(net, images, synthesize=half_grey, layer="5", **given)
    explorer.precompute(pictures=[0, 1], layers=["5", "9"], channels=3)
    return explorer


def ascent(net: Any, images: Any, **given: Any) -> AscentExplorer:
    explorer = AscentExplorer(net, images, layers=["3", "7"], steps=12, every=3, **given)
    explorer.precompute(pictures=[0, 1])
    explorer.precompute(settings=[{"blur": True}, {"target": 3}, {"layer": "7", "channel": 2}])
    return explorer


def dream(net: Any, images: Any, **given: Any) -> DreamExplorer:
    explorer = DreamExplorer(
        net, images, layers=["3", "7"], layer="3", dream={"octaves": 2, "steps": 4}, inversion={"steps": 6},
        texture={"steps": 3}, judge=net, judge_layers=["1", "5"], **given,
    )  # fmt: skip
    explorer.precompute(pictures=[0, 1])
    explorer.precompute(settings=[{"layer": "7"}, {"goal": "class", "target": 3}, {"mode": "texture"}])
    explorer.precompute(settings=[{"mode": "inversion", "layer": layer} for layer in ("3", "7")])
    explorer.precompute(settings=[{"layer": "7", "goal": "channel", "channel": k} for k in (2, 5)])
    return explorer


class Blender(torch.nn.Module):
    """A picture tinted by the mix of three styles."""

    styles = 3

    def forward(self, pictures: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        return 0.5 * pictures + 0.5 * (shares @ torch.eye(3))[:, :, None, None]


def style(net: Any, images: Any, **given: Any) -> StyleExplorer:
    """Three styles, of which the last was not sought; three that a network blends."""
    styles = torch.rand(3, 3, 24, 24, generator=torch.Generator().manual_seed(9)).repeat_interleave(2, 3)
    explorer = StyleExplorer(
        net, images, styles, style_names=["dots", "spots", "specks"], network=Blender(), style_layers=["1"],
        content_layer="5", options={"steps": 5, "optimizer": "adam"}, judge=net, judge_layers=["1"], **given,
    )  # fmt: skip
    explorer.precompute(pictures=[0, 1])
    explorer.precompute(settings=[{"style": 1}, {"style_weight": 10.0}, {"noise": True}, {"mode": "blend"}])
    return explorer


def overlay(net: Any, images: Any, **given: Any) -> OverlayExplorer:
    """Two networks of one design, the second one with another bias."""
    other = network()
    other[0].bias.data += 0.5
    explorer = OverlayExplorer(net, images, layers=["5", "9"], beside=other, both=False, **given)
    explorer.precompute(pictures=[0, 1])
    for key, answer in explorer._cache.latest():  # all are asked at once; forget the third
        if answer["picture"] == 2:
            explorer._cache.drop(key)
    return explorer


def tcav(net: Any, images: Any, **_: Any) -> TcavExplorer:
    """Two classes at two layers; the third concept was not tested. Red is drawn anew, too."""
    generator = torch.Generator().manual_seed(4)
    scenes = images[:1].expand(8, -1, -1, -1) * torch.rand(8, 3, 1, 1, generator=generator)
    present = scenes.clone()
    present[:, :, 20:44, 20:44] = torch.tensor([0.9, 0.1, 0.1])[:, None, None]
    concepts = {
        name: images[k : k + 1] * (0.7 + 0.3 * torch.rand(6, 1, SIDE, SIDE, generator=generator))
        for k, name in enumerate(("red", "green", "blue"))
    }
    explorer = TcavExplorer(
        net, scenes, [0, 1] * 4, concepts=concepts, others=torch.rand(40, 3, SIDE, SIDE, generator=generator),
        pairs={"red": (present, scenes)}, layers=["3", "7"], random_concepts=20, draws=3,
    )  # fmt: skip
    explorer.precompute([0, 1])
    return explorer


def epsilon(net: Any, images: Any, masks: Any = None, **given: Any) -> EpsilonExplorer:
    """Three networks: as it is, behind rounded pictures, and with scores that leave no gradient."""
    nets = {"plain": net, "rounded": Quantized(net, 4), "hot": HotSoftmax(net, 1e4)}
    explorer = EpsilonExplorer(nets, images, masks=masks, epsilons=(0.02, 0.1, 0.3), steps=2, **given)
    explorer.precompute([0, 1])
    return explorer


def patch(net: Any, images: Any, **given: Any) -> PatchExplorer:
    """A red and green disc for trees, the judge another network; the third picture was not asked about."""
    judge = network()
    judge[0].bias.data += 0.5
    made = torch.zeros(3, 12, 12)
    made[0, :6], made[1, 6:] = 1, 1
    explorer = PatchExplorer(
        net, images, made, 9, judge=judge, places=3, turns=(-30, 0, 30), sides=(30, 50), **given
    )
    explorer.precompute([0, 1])
    return explorer


EXPLORERS = {
    "activation": activation,
    "ascent": ascent,
    "dream": dream,
    "occlusion": occlusion,
    "comparer": comparer,
    "masks": masks,
    "sanity": sanity,
    "dissection": dissection,
    "embedding": embedding,
    "epsilon": epsilon,
    "overlay": overlay,
    "patch": patch,
    "style": style,
    "tcav": tcav,
}


class Saved(NamedTuple):
    """An explorer, its page's address, and that of the same page with a heading of its own."""

    explorer: Any
    address: str
    titled: str
    html: str


def saved(name: str, folder: Path) -> Saved:
    """The explorer's page below ``folder``; its third picture was not computed."""
    images, truth = pictures()
    names = ["red block", "green block", "blue block"]
    explorer = EXPLORERS[name](network(), images, names=names, masks=truth)
    page = explorer.save_html(folder / f"{name}.html")
    titled = explorer.save_html(folder / f"{name}-titled.html", title="Where does a network look?")
    return Saved(explorer, page.as_uri(), titled.as_uri(), page.read_text("utf-8"))
