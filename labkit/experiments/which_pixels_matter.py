"""Which pixels matter, lab 21: occlusion against the object (A1), CAM and Grad-CAM (A5), Clever Hans (A7)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from labkit.attribution import occlusion_result
from labkit.core.statistics import Interval, bootstrap, share
from labkit.data import CLASSES, gather, replace
from labkit.evaluation import area_share, pointing_hits
from labkit.experiments.bench import Bench, answers, experiment, extent
from labkit.experiments.measures import Measure, Result
from labkit.models import gap_head

LAB = "21_which_pixels_matter"
HORSE = CLASSES.index("horse")
WINDOW = 16  # of A1, in pixels: windows that do not overlap, each on the object or off it


@experiment("A1", LAB, energy_inside="evaluation.energy_inside")
def a1(bench: Bench, *, energy_inside: Callable[..., Tensor]) -> Result:
    """Does hiding the object lower the score, and hiding the background not? Beside it the next object."""
    energy_inside(torch.ones(1, 2, 2), torch.ones(1, 2, 2).bool())  # unwritten: say so at once
    scenes = bench.scenes(130, lesson=30)
    fits = (area_share(scenes.masks) > 0.05) & (area_share(scenes.masks) < 0.35)
    pictures, masks, truth = scenes.images[fits], scenes.masks[fits], scenes.labels[fits]
    ratios: dict[str, list[Interval]] = {"own": [], "next": []}
    costs: dict[str, list[float]] = {"own": [], "next": []}
    for name in bench.seeds:
        found = occlusion_result(bench.network(name), pictures, truth, window=WINDOW, stride=WINDOW)
        for whose, where in {"own": masks, "next": masks.roll(1, 0)}.items():
            energy = energy_inside(found.map, where) / area_share(where)
            ratios[whose].append(bootstrap(energy.nan_to_num(1.0).numpy()))
            costs[whose].append(_cost(found.drops, where))
    worst, strange = (Interval(max(c), min(c), max(c)) for c in costs.values())
    return Result(
        (
            Measure(
                "energy inside / area share, occlusion", extent(ratios["own"]), ">= 2 (lower bound)",
                unit="times", control={"the next picture's object": extent(ratios["next"])},
            ),
            Measure(
                "drop of a background window / of an object window", worst, "< 0.25",
                control={"the next picture's object": strange},
            ),
        ),
        show={"ratios": dict(zip(bench.seeds, ratios["own"], strict=True))},
    )  # fmt: skip


def _cost(drops: Float[Tensor, "N R K"], masks: Bool[Tensor, "N H W"]) -> float:
    """The mean drop of the windows off the object over that of the windows on it."""
    hidden = F.avg_pool2d(masks.float()[:, None], WINDOW)[:, 0]  # share of each window on the object
    return float(drops[hidden == 0].mean() / drops[hidden > 0.5].mean())


# ---- class activation maps


def features_and_gradients(
    model: nn.Module, images: Float[Tensor, "N 3 H W"], target: int
) -> tuple[Float[Tensor, "N K h w"], Float[Tensor, "N K h w"], Float[Tensor, "C K"]]:
    """The tensor that enters the pooling, the gradient of the target's score there, the classes' weights."""
    x = images.detach().clone().requires_grad_(True)
    features, weight, outputs = gap_head(model, x)
    gradients = torch.autograd.grad(outputs[:, target].sum(), features)[0]
    weight = torch.eye(features.shape[1]) if weight is None else weight
    return features.detach(), gradients, weight.detach()


def cam_of(cam: Callable[..., Tensor], model: nn.Module, images: Tensor, target: int) -> Tensor:
    """The enlarged map (N, H, W) that a CAM of features, weights and a class gives for pictures."""
    features, _, weight = features_and_gradients(model, images, target)
    small = cam(features, weight, target)
    return F.interpolate(small[:, None], size=images.shape[2:], mode="bilinear")[:, 0]


def grad_cam_of(grad_cam: Callable[..., Tensor], model: nn.Module, images: Tensor, target: int) -> Tensor:
    """The map (N, H, W) that a Grad-CAM of features, gradients and a size gives for pictures."""
    features, gradients, _ = features_and_gradients(model, images, target)
    return grad_cam(features, gradients, images.shape[2:])


@experiment("A5", LAB, cam="attribution.cam", grad_cam="attribution.grad_cam")
def a5(bench: Bench, *, cam: Callable[..., Tensor], grad_cam: Callable[..., Tensor]) -> Result:
    """Is ReLU(CAM), at every class, Grad-CAM times the number of places?"""
    errors = []
    for network, images in bench.subjects(2 if bench.quick else 6):
        for target in range(len(CLASSES)):
            features, gradients, weight = features_and_gradients(network, images, target)
            one = cam(features, weight, target).relu()
            other = grad_cam(features, gradients, features.shape[2:]) * features.shape[2] * features.shape[3]
            terms = cam(features.abs(), weight.abs(), target)  # what is rounded, before it cancels
            errors.append(float((one - other).abs().max() / terms.abs().max().clamp(min=1e-12)))
    worst = Interval(max(errors), min(errors), max(errors))
    return Result((Measure("largest difference of ReLU(CAM) and hw Grad-CAM", worst, "<= 1e-5"),))


# ---- Clever Hans


@experiment(
    "A7", LAB, occlusion="attribution.occlusion", saliency="attribution.saliency",
    grad_cam="attribution.grad_cam",
)  # fmt: skip
def a7(
    bench: Bench,
    *,
    occlusion: Callable[..., Tensor],
    saliency: Callable[..., Tensor],
    grad_cam: Callable[..., Tensor],
) -> Result:
    """Was the horse read off the tag? Peaks, erased and pasted tags, on a faulty and an honest network."""
    methods: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
        "saliency": lambda net, images: saliency(net, images, HORSE),
        "Grad-CAM": lambda net, images: grad_cam_of(grad_cam, net, images, HORSE),
        "occlusion": lambda net, images: occlusion(net, images, HORSE, 32, 16, 0.5),
    }
    hans, honest, fine = (bench.network(name) for name in ("minivgg-tag", "minivgg", "minivgg-tag-8"))
    for written in methods.values():
        written(honest, torch.zeros(1, 3, 32, 32))  # unwritten: say so at once
    tagged = bench.scenes(100, kind="horse", faults=("tag",), lesson=30)
    erased = gather([replace(s, without="tag") for s in tagged.scenes]).images
    others = bench.scenes(100, not_kind="horse", lesson=30)
    pairs = zip(others.scenes, tagged.scenes, strict=True)
    pasted = gather([replace(s, decal=t.decals[0]) for s, t in pairs]).images

    def hits(network: nn.Module, method: str, images: Tensor) -> Bool[Tensor, " N"]:
        return pointing_hits(methods[method](network, images), tagged.tags)[0]

    def flips(network: nn.Module) -> Interval:
        before = answers(network, tagged.images) == HORSE
        return share((answers(network, erased) != HORSE)[before].numpy())

    def horses(network: nn.Module) -> Interval:
        before = answers(network, others.images) != HORSE
        return share((answers(network, pasted) == HORSE)[before].numpy())

    peaks, differences = [], []
    for method in methods:
        there, gone = hits(honest, method, tagged.images), hits(honest, method, erased)
        beside = {"honest network": share(there.numpy())}
        if method == "Grad-CAM":
            beside["minivgg-tag-8, whose last map is 8 x 8"] = share(
                hits(fine, method, tagged.images).numpy()
            )
        found = share(hits(hans, method, tagged.images).numpy())
        peaks.append(Measure(f"tag: peak at the tag, {method}", found, ">= 0.8", control=beside))
        differences.append(
            Measure(
                f"honest: peak at the tag minus peak there with the tag erased, {method}",
                bootstrap((there.float() - gone.float()).numpy()), "within 0.1",
                control={"with the tag": share(there.numpy()), "erased": share(gone.numpy())},
            )
        )  # fmt: skip
    flip, horse = "erasing flips", "pasting makes a horse"
    return Result(
        (
            *peaks,
            Measure(f"tag: {flip}", flips(hans), ">= 0.6", control={"minivgg-tag-8": flips(fine)}),
            Measure(f"tag: {horse}", horses(hans), ">= 0.6", control={"minivgg-tag-8": horses(fine)}),
            *differences,
            Measure(f"honest: {flip}", flips(honest), "< 0.1"),
            Measure(f"honest: {horse}", horses(honest), "< 0.1"),
        )
    )
