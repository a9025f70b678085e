"""Two small exercises, and submissions right and wrong, for testing the engine. Nothing here ships."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from labkit.calls.exercise import Case, Exercise, Misconception, Recipe


def scale_add(x, factor):
    return x * factor + 1


def _rows(seed):
    return torch.rand(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


SCALE = Exercise(
    id="demo.scale_add",
    title="Scale and add",
    points=4,
    minutes=2,
    difficulty=1,
    signature="scale_add(x, factor)",
    reference=scale_add,
    public=lambda: [Case("two rows", (_rows(0), 2.0)), Case("factor three", (_rows(1), 3.0), probe="inputs")],
    hidden=lambda seed: [Case("fresh rows", (_rows(seed), 2.0 + seed % 7), points=2)],
    misconceptions=(
        Misconception("add first", lambda x, factor: (x + 1) * factor, "Multiply before you add."),
        Misconception("no add", lambda x, factor: x * factor, "Add the one."),
        Misconception(
            "in place", lambda x, factor: x.mul_(factor).add_(1), "The caller's tensor is not yours."
        ),
        Misconception(
            "hard-coded", lambda x, factor: _rows(0) * 2 + 1, "The function returns the first case's answer."
        ),
    ),
    blocks=("labkit.evaluation.scale_add",),
    seconds=1.5,
)


def top(model, x):
    model.zero_grad()
    x = x.clone().requires_grad_()
    model(x).sum().backward()
    model.zero_grad()
    return x.grad.abs().amax(-1)


def _linear(seed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 3, generator=generator)
    return Recipe(
        "torch.nn:Linear", {"in_features": 3, "out_features": 2}, {"weight": weight, "bias": torch.zeros(2)}
    )


def _mean(model, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).sum(), x)[0].abs().mean(-1)


def _reference(model, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).sum(), x)[0].abs().amax(-1)


GRADIENT = Exercise(
    id="demo.gradient",
    title="Largest gradient",
    points=6,
    minutes=5,
    difficulty=2,
    signature="gradient(model, x)",
    reference=_reference,
    public=lambda: [
        Case("one row", (_linear(0), torch.ones(1, 3))),
        Case("two", (_linear(1), torch.ones(2, 3))),
    ],
    hidden=lambda seed: [
        Case("another network", (_linear(seed), torch.ones(2, 3))),
        Case("and one more", (_linear(seed + 1), torch.ones(1, 3))),
        Case("and the last", (_linear(seed + 2), torch.ones(3, 3))),
    ],
    misconceptions=(
        Misconception("mean for max", _mean, "Take the largest, not the mean."),
        Misconception(
            "no abs",
            lambda m, x: torch.autograd.grad(m(x.requires_grad_()).sum(), x)[0].amax(-1),
            "A strong negative gradient matters as much: take the absolute value first.",
        ),
    ),
    blocks=("labkit.attribution.saliency",),
    seconds=1.5,
)

EXERCISES = (SCALE, GRADIENT)

RIGHT_SCALE = "import torch\n\ndef scale_add(x, factor):\n    return x * factor + 1\n"
RIGHT_GRADIENT = """import torch

def gradient(model, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(model(x).sum(), x)[0].abs().amax(-1)
"""


def notebook(path: Path, *cells: str, **metadata) -> Path:
    """Write a notebook of code cells, without nbformat's validation (students' files need not be valid)."""
    body = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"c{i}",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": c,
            }
            for i, c in enumerate(cells)
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}, **metadata},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body), encoding="utf-8")
    return path
