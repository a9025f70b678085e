"""How long RISE, LIME and KernelSHAP take beside their peers, on the same samples, in one run.

    python tests/benchmarks/bench_surrogates.py squeezenet1_1 resnet18 --repeats 3

Captum's ``LimeBase`` is handed the coalitions, the kernel and the linear model of labkit, so that both must
come to the same map; KernelSHAP is compared on ten superpixels, where both ask all 1,024 coalitions. Captum
has no RISE: its peer is the plain loop, mask by batch of masks, that packages and tutorials have. Each peer
runs with the batch size of two that serves it best. The two take turns; the medians are printed, and the
ratio with its range; maps must agree to 1e-4 of their maximum. Not run by pytest.
"""

from __future__ import annotations

import argparse
import statistics
import warnings
from collections.abc import Callable, Iterator

import torch
from bench_occlusion import network, timed
from captum._utils.models.linear_model import SkLearnLinearRegression, SkLearnRidge
from captum.attr import LimeBase
from torch import Tensor, nn

from labkit.attribution import kernel_shap_result, lime_result, rise_result, superpixels
from labkit.attribution.kernelshap import design
from labkit.attribution.rise import cell_size, draw_grids, enlarge

MASKS, SAMPLES, PLAYERS = 1000, 512, 10


def captum(
    model: nn.Module,
    image: Tensor,
    places: Tensor,
    coalitions: Tensor,
    weights: Tensor,
    linear: object,
    batch: int,
) -> Tensor:
    """LIME by Captum on given coalitions with given weights; the map (H, W)."""

    def drawn(*_: object, **__: object) -> Iterator[Tensor]:
        yield from coalitions.float()[:, None]

    left = iter(weights)
    peer = LimeBase(
        model, linear, lambda *_, **__: next(left).float(), drawn, True,
        lambda sample, original, **_: torch.where(sample[0].bool()[places], original, 0.5), None,
    )  # fmt: skip
    found = peer.attribute(image, target=1, n_samples=len(coalitions), perturbations_per_eval=batch)
    return found[0][places]


def lime_pair(model: nn.Module, image: Tensor) -> tuple[Callable[[], Tensor], Callable[[int], Tensor]]:
    places = superpixels(image)[0]
    seed = int(torch.randint(2**62, (1,), generator=torch.Generator().manual_seed(0)))
    coin = torch.Generator().manual_seed(seed)
    kept = torch.rand(SAMPLES, int(places.max()) + 1, generator=coin, dtype=torch.float64) < 0.5
    kept[0] = True
    near = torch.exp(-(((1 - kept.double().mean(1).sqrt()) / 0.25) ** 2)).sqrt()

    def ours() -> Tensor:
        return lime_result(model, image, 1, segments=places, samples=SAMPLES).map[0]

    return ours, lambda batch: captum(model, image, places, kept, near, SkLearnRidge(alpha=1.0), batch)


def shap_pair(model: nn.Module, image: Tensor) -> tuple[Callable[[], Tensor], Callable[[int], Tensor]]:
    side = image.shape[-1]
    rows, columns = torch.arange(side)[:, None] * 2 // side, torch.arange(side) * 5 // side
    places = rows * 5 + columns
    between, weights, exact = design(PLAYERS, 2**PLAYERS, torch.Generator())
    assert exact
    ends = torch.tensor([[False], [True]]).expand(2, PLAYERS)
    coalitions = torch.cat([ends, between])
    heavy = torch.cat([torch.full((2,), 1e6, dtype=weights.dtype), weights])

    def ours() -> Tensor:
        return kernel_shap_result(model, image, 1, segments=places, samples=2**PLAYERS).map[0]

    return ours, lambda batch: captum(
        model, image, places, coalitions, heavy, SkLearnLinearRegression(), batch
    )


def rise_pair(model: nn.Module, image: Tensor) -> tuple[Callable[[], Tensor], Callable[[int], Tensor]]:
    side = (image.shape[2], image.shape[3])

    def ours() -> Tensor:
        return rise_result(model, image, 1, masks=MASKS).map[0]

    def theirs(batch: int) -> Tensor:
        grids, shifts = draw_grids(MASKS, 7, 0.5, cell_size(side, 7), torch.Generator().manual_seed(0))
        total = torch.zeros(side)
        with torch.no_grad():
            for first in range(0, MASKS, batch):
                masks = enlarge(grids[first : first + batch], shifts[first : first + batch], side)
                chance = model(image * masks[:, None]).softmax(1)[:, 1]
                total += (chance[:, None, None] * masks).sum(0)
        return total / MASKS / 0.5

    return ours, theirs


def compare(name: str, what: str, pair: Callable, repeats: int) -> str:
    """One line: seconds of both, the ratio with its range, and how far the maps lie apart."""
    model, side = network(name)
    ours, theirs = pair(model, torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)))
    batch = min((8, 32), key=lambda size: timed(lambda: theirs(size))[0])
    ours()
    seconds = []
    for turn in range(repeats):
        order = [ours, lambda: theirs(batch)]
        times = [timed(work) for work in (order if turn % 2 == 0 else order[::-1])]
        mine, other = times if turn % 2 == 0 else times[::-1]
        seconds.append((mine[0], other[0]))
    apart = float((mine[1] - other[1]).abs().max() / other[1].abs().max())
    if apart > 1e-4:
        raise SystemExit(f"{name}, {what}: the maps differ by {apart:.1e} of their maximum.")
    ratios = sorted(b / a for a, b in seconds)
    first, second = (statistics.median(column) for column in zip(*seconds, strict=True))
    return (
        f"{name:16} {what:11} labkit {first:6.2f} s  peer {second:6.2f} s (batch {batch})  "
        f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})  apart {apart:.0e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=["squeezenet1_1", "resnet18"])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{torch.get_num_threads()} threads, 224 px, {MASKS} masks, {SAMPLES} samples, 2^{PLAYERS} coalitions"
    )
    for name in options.names:
        for what, pair in (("RISE", rise_pair), ("LIME", lime_pair), ("KernelSHAP", shap_pair)):
            print(compare(name, what, pair, options.repeats), flush=True)


if __name__ == "__main__":
    main()
