"""Train the bundled style networks and write them with their cards into the package.

    python data_scripts/train_style.py style-mosaic style-four
    python data_scripts/train_style.py --all

One at a time; a network that is already there is left alone unless --again. Scenes lie in the cache. The loss
network is torchvision's squeezenet1_1, whose weights must be at hand (`labkit fetch squeezenet1_1`).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labkit.data import RENDER_VERSION, MiniBroden
from labkit.data.textures import texture
from labkit.models import load_model, record
from labkit.models.stylenet import StyleNet
from labkit.models.training import save_network
from labkit.models.zoo import WEIGHTS
from labkit.style import stylize, train_style_result
from labkit.style.feed_forward import style_losses
from labkit.style.gram import gram_matrix, layer_weights

FOUR = ("mosaic", "marbling", "brush strokes", "scales")
# name -> the styles, the norm, the seed; the mixture's network has one scale and shift for four styles
NETWORKS: dict[str, tuple[tuple[str, ...], str, int]] = {
    "style-mosaic": (("mosaic",), "instance", 0),
    "style-four": (FOUR, "conditional", 0),
    "style-mosaic-batch": (("mosaic",), "batch", 0),
    "style-marbling": (("marbling",), "instance", 0),
    "style-mosaic-2": (("mosaic",), "instance", 1),
    "style-mosaic-batch-2": (("mosaic",), "batch", 1),
    "style-mixture": (FOUR, "instance", 0),
}
# Learned from photographs. The bundled ones are content with fringes (the plain) or waves (the robust) that
# nobody would call the style: they never had to tell textures apart.
LOSS = "squeezenet1_1"
RECIPE: dict[str, Any] = {
    "style_layers": {f"features.{n}": 1.0 for n in (1, 3, 4, 6, 7)},
    "content_layer": "features.4",
    "content_weight": 1.0,
    "style_weight": 7.0,
    "tv_weight": 0.1,
    "crop": 96,
    "batch": 4,
    "rate": 2e-3,
}
STEPS = 800  # a style; of several, each picture of a batch gets one by lot
SEVERAL = 1600
SCENES = 8000
HELD_OUT = 30


def held_out(network: StyleNet, styles: Tensor) -> dict[str, list[float]]:
    """The losses of style and content on test scenes, style by style, of the network as it is shipped."""
    shipped = StyleNet(network.styles, network.design).eval()
    shipped.load_state_dict({
        k: v.half().float() if v.is_floating_point() else v for k, v in network.state_dict().items()
    })  # fmt: skip
    model = load_model(LOSS).requires_grad_(False)
    tests = MiniBroden(1000, "test").pictures()[0][:HELD_OUT].copy()
    images = torch.from_numpy(tests).permute(0, 3, 1, 2).float().contiguous() / 255
    weights = layer_weights(model, RECIPE["style_layers"], "style_layers")
    found: dict[str, list[float]] = {"style": [], "content": []}
    for number, style in enumerate(styles):
        with torch.no_grad():
            made = stylize(shipped, images, number if shipped.styles > 1 else 0)
            with record(model, *weights) as kept:
                model(style[None])
            goals = {layer: gram_matrix(kept[layer]) for layer in weights}
            both = style_losses(model, made, images, goals, weights, RECIPE["content_layer"])
        for name, losses in zip(found, both, strict=True):
            found[name].append(round(float(losses.mean()), 4))
    return found


def train(name: str) -> None:
    kinds, norm, seed = NETWORKS[name]
    steps = STEPS if len(kinds) == 1 else SEVERAL
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = StyleNet(len(kinds) if norm == "conditional" else 1, norm)
    pictures, _ = MiniBroden(SCENES, "train").pictures()
    styles = torch.stack([texture(kind) for kind in kinds])
    begun = time.process_time()
    found = train_style_result(
        load_model(LOSS), pictures, styles, network=network, steps=steps,
        generator=torch.Generator().manual_seed(seed), **RECIPE,
    )  # fmt: skip
    card = {
        "architecture": "stylenet", "styles": list(kinds), "norm": norm,
        "takes": "pictures (N, 3, H, W) in [0, 1], sides divisible by 4, and a style",
        "gives": "pictures of the same size in [0, 1]", "seed": seed, "faults": [],
        "render_version": RENDER_VERSION,
        "recipe": {
            "loss_network": LOSS, "scenes": SCENES, "steps": steps, **RECIPE, "threads": 1,
            "cpu_seconds": round(time.process_time() - begun),
        },
        "loss": [[round(float(v), 4) for v in row] for row in found.losses[:: steps // 6]],
        "held out": held_out(found.network, styles),
    }  # fmt: skip
    print(save_network(found.network, WEIGHTS, name, card), card["held out"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*NETWORKS, []], help="which networks")
    parser.add_argument("--all", action="store_true", help="every one")
    parser.add_argument("--again", action="store_true", help="also those that are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in NETWORKS if options.all else options.names:
        if options.again or not Path(WEIGHTS / f"{name}.json").exists():
            train(name)


if __name__ == "__main__":
    main()
