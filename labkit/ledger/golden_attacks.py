"""Golden calls of attacks and defences, dreams, textures and styles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from labkit import adversarial, style
from labkit.adversarial.attacks import slope_of_loss
from labkit.adversarial.defenses import HotSoftmax, Quantized, straight_through
from labkit.adversarial.iterative import project
from labkit.adversarial.patches import draw_placing, paste
from labkit.data.carriers import Carrier, with_carrier
from labkit.data.filming import DecalViews, decal_views, filmed
from labkit.ledger.golden_calls import Golden, draw, ground
from labkit.models.stylenet import Normed, StyleNet
from labkit.style.dreaming import layer_norm
from labkit.style.feed_forward import check_style, style_losses
from labkit.style.gram import color_matched, gram_loss, gram_matrix, layer_weights
from labkit.style.nonparametric import best_windows


def _adversarial() -> dict[str, Golden]:
    a, g = adversarial, ground()
    quiet: dict[str, Any] = {"progress": lambda share: None}

    def once() -> Any:
        found = a.fgsm_result(g.model, g.images, g.targets, epsilon=0.02)
        return [found.images, found.still]

    def stepped() -> Any:
        given: dict[str, Any] = {"epsilon": 0.02, "steps": 3, "generator": draw()}
        return [
            a.pgd_result(g.model, g.images, g.targets, restarts=2, **given, **quiet).images,
            a.pgd(
                g.model, g.images, (g.targets + 1) % 12, norm="l2", targeted=True, **{**given, "epsilon": 0.5}
            ),
            slope_of_loss(g.model, g.images, g.targets).loss,
            project(g.images + 0.1, g.images, 0.05),
        ]

    def nearest() -> Any:
        found = a.minimal_perturbation_result(
            g.model, g.images, g.targets, halvings=3, steps=3, most=4.0, **quiet
        )
        return [found.images, found.epsilon.clamp(max=99), found.fooled]

    def moved_over() -> Any:
        nets = {"plain": g.model, "rounded": Quantized(g.model, 6).eval()}
        return a.transfer_matrix_result(nets, nets, g.images, g.targets, steps=2, **quiet).images

    def laid() -> Any:
        found = a.adversarial_patch_result(g.model, g.images, 3, side=8, steps=2, batch=2, **quiet)
        placing = draw_placing(len(g.images), generator=draw())
        shown = paste(g.images, found.patch, type(placing)(*(p.to(g.images) for p in placing)))
        return [found.patch, shown]

    def printed() -> Any:
        views = decal_views("T-shirt", 2, area=(0.01, 0.3))
        found = a.physical_patch_result(g.model, views, 3, side=8, steps=2, batch=2, **quiet)
        crate = decal_views("crate", 1, "train", area=(0.01, 0.3))
        return [found.patch, views(found.patch, [0, 1]), crate(found.patch, [0]), crate.area, crate.labels]

    def defended() -> Any:
        with torch.no_grad():
            return [
                Quantized(g.model, 5).eval()(g.images),
                Quantized(g.model, 5).adaptive.eval()(g.images),
                HotSoftmax(g.model, 7.0).eval()(g.images),
                straight_through(g.images, 3),
            ]

    def taught() -> Any:
        box = a.LabelsOnly(nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3, 2)).eval())
        with torch.no_grad():
            for weight in box._model.parameters():
                weight.copy_(torch.linspace(-1, 1, weight.numel()).view(weight.shape))
        shown = torch.rand(8, 3, 4, 4, generator=draw())
        found = a.substitute_result(
            box, shown, lambda: nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3, 2)),
            rounds=2, epochs=1, **quiet,
        )  # fmt: skip
        return [found.labels, found.queries, found.images[:8]]

    return {
        "fgsm_result": Golden(once, (a.fgsm_result,), 1e-3),
        "pgd": Golden(stepped, (a.pgd, a.pgd_result, slope_of_loss, project), 1e-3),
        "minimal_perturbation": Golden(
            nearest, (a.minimal_perturbation, a.minimal_perturbation_result), 1e-3
        ),
        "transfer_matrix": Golden(moved_over, (a.transfer_matrix, a.transfer_matrix_result), 1e-3),
        "adversarial_patch": Golden(
            laid, (a.adversarial_patch, a.adversarial_patch_result, draw_placing, paste), 1e-3
        ),
        "physical_patch": Golden(
            printed,
            (
                a.physical_patch,
                a.physical_patch_result,
                decal_views,
                DecalViews,
                with_carrier,
                Carrier,
                filmed,
            ),
            1e-3,
        ),
        "Quantized": Golden(defended, (Quantized, HotSoftmax, straight_through)),
        "substitute": Golden(taught, (a.substitute, a.substitute_result, a.LabelsOnly), 1e-3),
    }


def _style() -> dict[str, Golden]:
    s, g = style, ground()
    quiet: dict[str, Any] = {"progress": lambda share: None}
    early, late = "features.2", "features.5"

    def dreamed() -> Any:
        found = s.deepdream_result(g.model, g.images, late, octaves=2, steps=2, jitter=2, **quiet)
        with torch.no_grad():
            return [found.images, found.scores, layer_norm(g.model, g.images, early)]

    def grown() -> Any:
        texture = g.images[:1, :, :12, :12]
        found = s.efros_leung_result(texture, side=(9, 10), window=5, **quiet)
        rows = torch.linspace(0, 1, 24).view(6, 4)
        near = best_windows(rows, rows[2] + 0.01, torch.ones(4), 9.0)
        return [found.image, found.source, near, s.efros_leung(texture, side=8, window=3, order="scanline")]

    def styled() -> Any:
        found = s.style_transfer_result(
            g.model, g.images[:1], g.images[1:2], style_layers={early: 1.0, late: 2.0}, content_layer=late,
            optimizer="adam", steps=2, tv_weight=0.1, keep_colors=True, **quiet,
        )  # fmt: skip
        made = s.gram_texture_result(g.model, g.images[:1], early, steps=2, optimizer="adam", **quiet)
        gram = gram_matrix(g.images)
        return [
            *found[:4], made.images, gram, gram_loss(g.images.flip(0), gram),
            color_matched(g.images[:1], g.images[1:2]),
        ]  # fmt: skip

    def taught() -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = StyleNet(2, widths=(4, 6, 8), blocks=1)
        small: dict[str, Any] = {"style_layers": early, "content_layer": late, "crop": 32, "batch": 2}
        found = s.train_style_result(
            g.model, g.images, g.images[:2], network=net, steps=2, generator=draw(), **small, **quiet
        )
        shown = g.images[:, :, :32, :32]
        return [found.losses, s.stylize(found.network, shown, 1), s.stylize(found.network, shown, [0.5, 0.5])]

    return {
        "deepdream": Golden(dreamed, (s.deepdream, s.deepdream_result, layer_norm), 1e-3),
        "efros_leung": Golden(grown, (s.efros_leung, s.efros_leung_result, best_windows), 1e-3),
        "style_transfer": Golden(
            styled,
            (
                s.style_transfer, s.style_transfer_result, s.gram_texture, s.gram_texture_result,
                gram_matrix, gram_loss, color_matched,
            ),
            1e-3,
        ),
        "train_style": Golden(
            taught,
            (
                s.train_style, s.train_style_result, s.stylize, style_losses, check_style, layer_weights,
                StyleNet, Normed,
            ),
            1e-3,
        ),
    }  # fmt: skip


TABLES: dict[str, Callable[[], dict[str, Golden]]] = {"adversarial": _adversarial, "style": _style}
