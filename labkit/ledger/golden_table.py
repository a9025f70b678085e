"""Golden calls beside the methods: measures, networks and their hooks, searches, and the toy world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from labkit import attribution, evaluation, models, optimize
from labkit.ledger.golden_calls import EARLY, LAYER, Golden, draw, ground
from labkit.models import fast, training


def _tiny(classes: int = 2) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(36, classes))


def _roar() -> Any:
    """Networks that tell dark from light, trained on a few pictures of eight pixels."""
    level = torch.tensor([0.2, 0.8] * 8)[:, None, None, None]
    images = (level + 0.1 * torch.rand(16, 3, 8, 8, generator=draw())).clamp(0, 1)
    labels, recipe = torch.tensor([0, 1] * 8), training.Recipe(epochs=4, batch=8, shift=1)
    maps = {"slope": torch.linspace(0, 1, 64).view(1, 8, 8).expand(16, -1, -1)}
    return evaluation.roar(
        images, labels, images, labels, maps, maps, _tiny, fractions=(0.5,), seeds=(0,), recipe=recipe
    )


def _fit() -> Any:
    pictures = (torch.rand(16, 8, 8, 3, generator=draw()) * 255).byte().numpy()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = _tiny()
    labels = torch.tensor([0, 1] * 8).numpy()
    recipe = training.Recipe(epochs=3, batch=8, shift=1)
    return training.fit(model, pictures, labels, recipe, bar=False)


def _evaluation() -> dict[str, Golden]:
    g, e = ground(), evaluation
    boxes = e.boxes_of(g.masks)
    parts = torch.stack([g.masks, ~g.masks, g.maps > 0.4], 1)
    waves = torch.cos(torch.arange(40.0, dtype=torch.float64))
    table = torch.arange(12, dtype=torch.float64).view(4, 3).cos()
    groups = ["a", "b", "a", "b"]
    two: dict[str, Any] = {"saliency": attribution.saliency, "cam": attribution.cam}
    second = (g.targets + 1) % 12

    def courses(course: Callable[..., Any]) -> list[Any]:
        return [
            course(g.model, g.images, g.maps, g.targets, steps=6),
            course(g.model, g.images[:2], g.maps[:2], 1, steps=3, fill="grey", reward="logit"),
        ]

    def twin() -> Any:
        return e.randomized(g.model, ["classifier", "features.14"], g.images)(g.images)

    rows = torch.arange(60.0, dtype=torch.float64).view(12, 5).sin()
    bytes_ = (g.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
    few: dict[str, Callable[[], Any]] = {
        "colour_features": lambda: e.colour_features(g.images, 8, patch=2),
        "equal_norm_noise": lambda: [
            e.equal_norm_noise(g.images - 0.5, kind, norm=norm)
            for kind, norm in (("white", "2"), ("smooth", "max"), ("sign", "max"), ("blocks", "2"))
        ],
        "matched_gaussian": lambda: e.matched_gaussian(rows, 7),
        "of_another": lambda: [e.of_another(g.maps), e.of_another(g.maps, labels=[0, 1, 1, 0])],
        "other_pictures": lambda: e.other_pictures(9, labels=[0, 0, 0, 0, 1, 1, 1, 2, 2]),
        "permutation_test": lambda: [
            e.permutation_test(waves[:9].numpy()),
            e.permutation_test(waves[:9].numpy(), waves[9:].numpy(), repeats=50),
        ],
        "phase_shuffled": lambda: e.phase_shuffled(g.model.features[0].weight),
        "position_features": lambda: e.position_features(g.images, 5),
        "random_directions": lambda: e.random_directions(rows, 3),
        "random_projections": lambda: e.random_projections(g.images[:, :, ::8, ::8], 6),
        "random_subspace": lambda: e.random_subspace(rows, 2),
        "rank_p": lambda: e.rank_p(0.4, waves.numpy(), side="both"),
        "twin": lambda: e.twin(g.model, bytes_)(g.images),
        "accuracy_by_group": lambda: e.accuracy_by_group([0, 1, 1, 1], [0, 1, 1, 0], ["x", "x", "x", "y"]),
        "area_share": lambda: e.area_share(g.masks),
        "average_image": lambda: e.average_image(g.images, groups),
        "bam_contrast": lambda: e.bam_contrast(g.maps, g.others, g.masks),
        "bootstrap": lambda: [
            e.bootstrap(waves.numpy()), e.bootstrap(waves.view(20, 2).numpy(), lambda rows: rows.max())
        ],
        "box_iou": lambda: e.box_iou(boxes, boxes.roll(1, 0)),
        "box_localization": lambda: [
            e.box_localization(g.maps, boxes, level=0.6), e.box_localization(g.maps, boxes, of="energy"),
            e.box_localization(g.maps, boxes, level=1.5, of="mean"),
        ],
        "boxes_of": lambda: boxes,
        "cascading_randomization": lambda: e.cascading_randomization(
            g.model, g.images[:2], g.targets[:2], two, layers=["classifier", "features.17"]
        ),
        "centre_map": lambda: e.centre_map(g.images),
        "class_selectivity": lambda: e.class_selectivity(
            two["saliency"], g.model, g.images, g.targets, second
        ),
        "control_maps": lambda: e.control_maps(g.images),
        "deletion": lambda: courses(e.deletion),
        "edge_map": lambda: e.edge_map(g.images),
        "energy_inside": lambda: e.energy_inside(g.maps, g.masks),
        "execution_order": lambda: e.execution_order(g.model, g.images),
        "falsification": lambda: e.falsification(g.maps, parts, table, table.roll(1, 0)),
        "insertion": lambda: courses(e.insertion),
        "iou": lambda: e.iou(g.masks, g.maps > 0.4),
        "peaks": lambda: e.peaks(g.maps),
        "pointing_game": lambda: e.pointing_game(g.maps, g.masks, g.targets, tolerance=0.3),
        "pointing_hits": lambda: [e.pointing_hits(g.maps, g.masks, tolerance=t) for t in (0.05, 0.4)],
        "random_map": lambda: e.random_map(g.images),
        "randomized": twin,
        "rank_correlation": lambda: [
            e.rank_correlation(g.maps, g.others), e.rank_correlation(g.maps, g.others, absolute=True)
        ],
        "remove": lambda: e.remove(g.images, g.maps, 0.3, g.images.mean((0, 2, 3))),
        "share": lambda: e.share([True] * 7 + [False] * 3),
        "ssim": lambda: e.ssim(g.maps, g.others),
        "ssim_floor": lambda: e.ssim_floor(g.maps),
    }  # fmt: skip
    other = {
        "roar": Golden(_roar, rtol=0.07),
        "bootstrap": Golden(few.pop("bootstrap"), (e.bootstrap, e.Interval)),
    }
    return {name: Golden(run) for name, run in few.items()} | other


def _models() -> dict[str, Golden]:
    g, m = ground(), models
    one = ground(torch.float32)
    channel = {LAYER: lambda out: out * (torch.arange(out.shape[1])[None, :, None, None] % 2)}

    def copied() -> Any:
        """Copies of two networks, folded or not: what they answer and what they are made of."""
        layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
        for number, parameter in enumerate(layers.parameters()):
            parameter.data = torch.linspace(-1, 2, parameter.numel()).view_as(parameter).sin() + number / 9
        found: dict[str, Any] = {}
        for name, model in {"minivgg": one.model, "layers": layers}.items():
            for folded in (True, False):
                copy = fast.fast_copy(model, one.images[:1], forwards=1000, folded=folded)
                kinds = [type(part).__name__ for part in copy.modules()]
                found[f"{name}, {folded}"] = [copy(one.images), copy is model, kinds]
            found[f"{name}, memory"] = str(fast.memory_format(model, one.images[:1]))
        return [found, fast.fast_copy(one.model, one.images[:1], forwards=5) is one.model]

    def recorded() -> Any:
        with torch.no_grad(), m.record(g.model, EARLY, LAYER, f"{LAYER}:0") as kept:
            out = g.model(g.images)
        return {**kept, "out": out}

    def edited() -> Any:
        with torch.no_grad(), m.edit(g.model, channel) as model:
            return model(g.images)

    def borrowed() -> Any:
        layer = nn.Sequential(nn.Dropout(), nn.Linear(2, 1)).eval()
        weight, before = next(layer.parameters()), torch.get_rng_state()
        with torch.no_grad(), m.borrow(layer):
            layer.requires_grad_(False)
            torch.rand(3)
            state = [torch.is_grad_enabled(), weight.grad is None]
        back = [weight.requires_grad, torch.equal(before, torch.get_rng_state())]
        return [*map(int, state), *map(int, back)]

    def wrapped() -> Any:
        inner = nn.Sequential(nn.Conv2d(3, 5, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        inner[0].weight.data = torch.arange(15.0).view(5, 3, 1, 1).cos()
        names = ["a", "b", "c", "d", "e"]
        model = m.wrap_model(inner, classes=names, input_size=128, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
        return [model(one.images), model.layers]

    def loaded() -> Any:
        model = m.load_model("minivgg")
        return [g.model(g.images), model(one.images), model.classes, model.layers, model.input_size]

    def directed() -> Any:
        vector, whole = torch.arange(160.0).sin(), torch.arange(160 * 256.0).cos().view(160, 16, 16)
        along = m.direction(LAYER, vector, "max") - 2 * m.direction(LAYER, whole) / 100
        both = m.class_score(g.targets) + m.unit(EARLY, 4, "max") - m.class_score(3)
        return [m.scores(g.model, g.images, goal) for goal in (along, both, m.direction(EARLY, vector[:48]))]

    def streamed() -> Any:
        pictures = (g.images * 255).round().byte().permute(0, 2, 3, 1).numpy()
        found = m.features(g.model, pictures, [EARLY, LAYER], pool=2, batch_size=3, dtype=torch.float64)
        return {**found, "places": m.features(g.model, g.images, LAYER)}

    def from_a_layer() -> Any:
        with torch.no_grad(), m.record(g.model, LAYER) as kept:
            g.model(g.images)
        return [m.run_from(g.model, LAYER, kept[LAYER] * 2), m.Tail(g.model, EARLY).alone * 1.0]

    def fields() -> Any:
        found = m.receptive_fields(g.model, [EARLY, LAYER, "pool"])
        return {
            name: [field.rows, field.columns, *field.stride, field.because] for name, field in found.items()
        }

    goals = (3, g.targets, m.unit(EARLY, 4), m.unit(LAYER, 7, (3, 5)), lambda out: out.logsumexp(1))
    return {
        "load_model": Golden(loaded, (m.load_model, type(g.model))),
        "wrap_model": Golden(wrapped),
        "record": Golden(recorded),
        "edit": Golden(edited),
        "borrow": Golden(borrowed),
        "scores": Golden(lambda: [m.scores(g.model, g.images, goal) for goal in goals], (m.scores, m.unit)),
        "features": Golden(streamed),
        "run_from": Golden(from_a_layer, (m.run_from, m.Tail)),
        "direction": Golden(directed, (m.direction, m.class_score)),
        "pick": Golden(lambda: [m.pick(g.model(g.images), goal) for goal in (3, g.targets)]),
        "layer_names": Golden(lambda: m.layer_names(g.model)),
        "layer_shapes": Golden(lambda: m.layer_shapes(g.model, g.images)),
        "receptive_fields": Golden(fields),
        "last_spatial": Golden(lambda: m.last_spatial(g.model, g.images)),
        "gap_head": Golden(lambda: m.gap_head(g.model, g.images)._asdict()),
        "fast.fast_copy": Golden(copied, (fast.fast_copy, fast.memory_format), 1e-3),
        "training.fit": Golden(_fit, (training.fit,), 0.05),
    }


def _optimize() -> dict[str, Golden]:
    g, o = ground(), optimize

    def searched() -> Any:
        found: dict[str, Any] = {}
        for name, rate in (("adam", 0.1), ("sgd", 0.02), ("lbfgs", 0.3)):
            x = torch.linspace(-1, 2, 12, dtype=torch.float64)

            def loss(step: int, x: Tensor = x) -> Tensor:
                return (x**4).sum() + (x[0] * x[1] - 0.1 * step) ** 2

            def clamp(step: int, x: Tensor = x) -> Tensor:
                return x.clamp_(-0.9, 1.9)

            done = o.minimize([x], loss, steps=6, rate=rate, optimizer=name, project=clamp)
            found[name] = [x, done.losses]
        return found

    def held() -> Any:
        x, weights = (
            torch.linspace(-1, 2, 12, dtype=torch.float64).view(3, 4),
            torch.arange(1.0, 5.0).double(),
        )
        frames: list[float] = []
        done = o.minimize(
            [x], lambda step: (x**4).sum() - x.sum(), steps=6, rate=0.1, schedule="cosine",
            hold=o.Hold(lambda step: (x * weights).tanh().sum(1), 0.5, 1.0, within=(-2, 2), again=1),
            on_frame=lambda step, loss: frames.append(loss), every=4,
        )  # fmt: skip
        return [x, done.losses, done.held, torch.tensor(frames)]

    return {
        "gaussian_blur": Golden(lambda: [o.gaussian_blur(g.images, 3.0), o.gaussian_blur(g.images, 0.7)]),
        "blur_pyramid": Golden(lambda: list(o.blur_pyramid(g.images, 8.0, 4))),
        "masked": Golden(lambda: [o.masked(g.images, g.maps.clamp(0, 1), f) for f in ("pyramid", "grey")]),
        "total_variation": Golden(lambda: [o.total_variation(g.images), o.total_variation(g.images, 3.0)]),
        "shift": Golden(lambda: o.shift(g.images, 9, draw())),
        "filling": Golden(lambda: {f: o.filling(g.images, f) for f in (*o.FILLS, 0.3)}),
        "minimize": Golden(searched),
        "Hold": Golden(held, (o.minimize, o.Hold)),
    }


TABLES: dict[str, Callable[[], dict[str, Golden]]] = {
    "evaluation": _evaluation,
    "models": _models,
    "optimize": _optimize,
}
