"""The heatmap defence of A14 as a thing one can call, and the attacker who attacks it with its network.

A detector looks at the guided-backprop map of the network's answer and rings where the map looks unlike that
of a clean picture. Such a map is made of gates that are open or shut, so that its own gradient by the picture
is exactly zero: one more hidden gradient. The attacker opens the gates softly and gets through.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from labkit.adversarial import fgsm_result, pgd_result
from labkit.adversarial.iterative import project
from labkit.core.checks import check_choice
from labkit.core.statistics import Interval, bootstrap, share
from labkit.experiments.adversarial_masks import auc
from labkit.experiments.bench import Bench, answers, right
from labkit.experiments.defences_and_how_they_fall import in_parts
from labkit.optimize import gaussian_blur

SIZE = 4 / 255  # A14's
SOFT = 20.0  # how steeply the attacker's gates open
GRID = 16
FALSE_ALARMS = 0.05


class _GuidedGate(torch.autograd.Function):
    """ReLU; backwards what is positive, through a gate that is open or shut, or one that opens softly."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, soft: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.soft = soft
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(ctx.soft * x) if ctx.soft else (x > 0).to(x)
        return gradient.clamp(min=0) * gate, None


class _Guided(nn.Module):
    def __init__(self, soft: float) -> None:
        super().__init__()
        self.soft = soft

    def forward(self, x: Tensor) -> Tensor:
        return _GuidedGate.apply(x, self.soft)


def guided_copy(model: nn.Module, soft: float = 0.0) -> nn.Module:
    """The network with each ``nn.ReLU`` a guided one, whose own derivative exists where ``soft`` is above 0.

    Raises ValueError for a network without such modules.
    """
    made = copy.deepcopy(model).eval()
    found = [
        (parent, name)
        for parent in made.modules()
        for name, m in parent.named_children()
        if isinstance(m, nn.ReLU)
    ]
    if not found:
        raise ValueError("model must bend its signal by modules nn.ReLU; it has none of them.")
    for parent, name in found:
        setattr(parent, name, _Guided(soft))
    for parameter in made.parameters():
        parameter.requires_grad_(False)
    return made


def map_of(
    guided: nn.Module, images: Tensor, target: Tensor, *, keep: bool = False
) -> Float[Tensor, "N H W"]:
    """The guided-backprop map of the target's score; with ``keep`` it can be differentiated once more."""
    if not images.requires_grad:
        images = images.detach().clone().requires_grad_(True)
    with torch.enable_grad():
        score = guided(images).gather(1, target[:, None]).sum()
        (slope,) = torch.autograd.grad(score, images, create_graph=keep)
    found = slope.abs().amax(1)
    return found if keep else found.detach()


@dataclass
class Detector:
    """Rings where a picture looks attacked: ``alarms(images)``, above ``level`` it rings.

    ``by``: "map" looks at the guided-backprop map of the network's answer, "picture" at what a blur takes
    away and never asks a network. Teach it clean and attacked pictures first.
    """

    model: nn.Module
    by: str = "map"
    level: float = 0.0
    head: nn.Module = field(default_factory=nn.Identity)
    guided: nn.Module | None = None
    soft: nn.Module | None = None

    def __post_init__(self) -> None:
        check_choice("by", self.by, ("map", "picture"))
        if self.by == "map":
            self.guided, self.soft = guided_copy(self.model), guided_copy(self.model, SOFT)

    def features(self, images: Tensor, *, way: str = "real") -> Float[Tensor, "N F"]:
        """Where it is strong on a grid, and how evenly; ``way`` "soft" is the attacker's, "open" is real and
        can be differentiated."""
        if self.by == "picture":
            seen = (images - gaussian_blur(images, 1.0)).abs().mean(1)
        else:
            with torch.no_grad():
                told = self.model(images).argmax(1)
            net: Any = self.soft if way == "soft" else self.guided
            seen = map_of(net, images, told, keep=way != "real")
        small = F.adaptive_avg_pool2d(seen[:, None], GRID).flatten(1)
        if self.by == "map":
            small = small / small.amax(1, keepdim=True).clamp(min=1e-12)
        return torch.cat([small, small.sort(1).values], 1)

    def alarms(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, " N"]:
        """How much each picture looks attacked."""
        return in_parts(lambda part: self.head(self.features(part)).flatten(), images)

    def rings(self, images: Float[Tensor, "N 3 H W"]) -> Bool[Tensor, " N"]:
        """For which pictures it rings."""
        return self.alarms(images) > self.level

    def teach(self, clean: Tensor, attacked: Tensor, *, steps: int = 300) -> None:
        """Two thirds of the clean pictures and their attacked versions teach; the other third sets the level
        at which one in twenty clean pictures rings."""
        cut = 2 * len(clean) // 3
        seen = in_parts(self.features, torch.cat([clean[:cut], attacked]))
        truth = torch.cat([torch.zeros(cut), torch.ones(len(attacked))])
        middle, spread = seen.mean(0), seen.std(0).clamp(min=1e-6)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            head = nn.Sequential(nn.Dropout(0.3), nn.Linear(seen.shape[1], 32), nn.ReLU(), nn.Linear(32, 1))
            optimizer = torch.optim.AdamW(head.parameters(), 3e-3, weight_decay=0.1)
            weight = torch.tensor(cut / len(attacked))
            for _ in range(steps):
                told = head((seen - middle) / spread).flatten()
                loss = F.binary_cross_entropy_with_logits(told, truth, pos_weight=weight)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        head.requires_grad_(False).eval()
        self.head = _Scaled(head, middle, spread)
        self.level = float(self.alarms(clean[cut:]).quantile(1 - FALSE_ALARMS))


class _Scaled(nn.Module):
    def __init__(self, head: nn.Module, middle: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.head, self.middle, self.spread = head, middle, spread

    def forward(self, seen: Tensor) -> Tensor:
        return self.head((seen - self.middle) / self.spread)


class Met(NamedTuple):
    """``images`` (N, C, H, W); ``dead``: share of pixels whose gradient of the *real* alarm is exactly 0."""

    images: Float[Tensor, "N C H W"]
    dead: float


def attack_both(
    model: nn.Module, detector: Detector, images: Tensor, labels: Int[Tensor, " N"], *,
    epsilon: float = SIZE, steps: int = 40, least: float = 1.0,
) -> Met:  # fmt: skip
    """PGD on network and detector together: while the network is not fooled by ``least`` scores a step goes
    against it, from there on one goes against the alarm, and of all that fooled the quietest is kept.

    Source: Carlini and Wagner 2017, "Adversarial Examples Are Not Easily Detected", section 2; soft gates:
    Dombrowski et al. 2019, "Explanations Can Be Manipulated and Geometry Is to Blame", section 3.
    """
    at, best = images.clone(), images.clone()
    quiet = torch.full((len(images),), torch.inf)
    rows, dead = torch.arange(len(images)), 0.0
    for number in range(steps + 1):
        at = at.detach().requires_grad_(True)
        scores = model(at)
        others = scores.clone()
        others[rows, labels] = -torch.inf
        margin = others.amax(1) - scores[rows, labels]
        (against,) = torch.autograd.grad(margin.sum(), at)
        alarm = detector.head(detector.features(at, way="soft")).flatten()
        (loud,) = torch.autograd.grad(alarm.sum(), at)
        if number == 0 and detector.by == "map":
            real = detector.head(detector.features(at, way="open")).sum()
            flat = torch.autograd.grad(real, at, allow_unused=True)[0]
            dead = 1.0 if flat is None else float((flat == 0).all(1).float().mean())
        with torch.no_grad():
            rung = detector.alarms(at.detach())
            quieter = (margin > 0) & (rung < quiet)
            quiet = torch.where(quieter, rung, quiet)
            best = torch.where(quieter[:, None, None, None], at, best)
            way = torch.where((margin < least)[:, None, None, None], against, -loud)
            step = 2.5 * epsilon / steps * (2 if number < steps // 2 else 1)
            at = project(at + step * way.sign(), images, epsilon)
    fooled = quiet.isfinite()[:, None, None, None]
    return Met(torch.where(fooled, best, at).detach(), dead)


class Remains(NamedTuple):
    """Of one detector: ``auc`` and ``fooled`` (successful attacks that it did not ring for, as a share of
    all) by attack; ``clean``: false alarms; ``dead`` as of ``Met``."""

    auc: dict[str, Interval]
    fooled: dict[str, Interval]
    clean: Interval
    dead: float


def heatmap_defence(bench: Bench) -> dict[str, Remains]:
    """The detector by map and the one by the picture alone, under the attack that knows neither, under each
    one's own adaptive attack, and on a network that is fooled in any case."""
    model = bench.network("minivgg")
    taught, asked = bench.count(180, lesson=72, few=4), bench.count(60, lesson=16, few=2)
    drawn = bench.scenes(taught + asked, lesson=taught + asked)
    fine = right(model, drawn.images, drawn.labels)
    x, y = drawn.images[fine], drawn.labels[fine]
    steps = {"quick": 3, "class": 24, "full": 40}[bench.mode]
    options: dict[str, Any] = {"epsilon": SIZE, "steps": bench.steps(10, few=2)}
    options["progress"] = lambda share: None
    small = in_parts(lambda p, t: pgd_result(model, p, t, **options).images, x, y)
    once = in_parts(lambda p, t: fgsm_result(model, p, t, epsilon=SIZE).images, x[:-asked], y[:-asked])
    clean, truth = x[-asked:], y[-asked:]
    found = {}
    for by in ("map", "picture"):
        detector = Detector(model, by)
        detector.teach(x[:-asked], torch.cat([once, small[:-asked]]), steps=bench.steps(300, few=20))
        met = [
            attack_both(model, detector, p, t, steps=steps)
            for p, t in zip(clean.split(30), truth.split(30), strict=True)
        ]
        shown = {"PGD": small[-asked:], "PGD on both": torch.cat([one.images for one in met])}
        quiet = detector.alarms(clean)
        through, curve = {}, {}
        for way, images in shown.items():
            alarms = detector.alarms(images)
            through[way] = share(((answers(model, images) != truth) & (alarms <= detector.level)).numpy())
            curve[way] = bootstrap(torch.stack([quiet, alarms], 1).numpy(), auc)
        found[by] = Remains(curve, through, share((quiet > detector.level).numpy()), met[0].dead)
    return found
