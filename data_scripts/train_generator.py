"""Train the bundled generator on plain scenes of the toy world and write it with its card into the package.

    python data_scripts/train_generator.py --pictures 70000 --folder build/generator
    python data_scripts/train_generator.py --pictures 70000 --folder build/generator --write

A conditional projected GAN (Sauer et al. 2021): the critic sees a frozen minivgg's features at four depths
through spectrally normalized heads with class projection (Miyato and Koyama 2018); hinge loss, differentiable
augmentation (Zhao et al. 2020), R1 on the pictures every eighth step, a running mean of the weights, a rate
that falls at the end. It is judged by minivgg-11, a network of another design and other scenes, never by the
critic's kin. A run goes on from the last checkpoint in its folder; sheets are written there to be looked at.
--write puts the running mean into the package.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrizations import spectral_norm

from labkit.data import CLASSES, RENDER_VERSION, MiniBroden, stack
from labkit.data.cache import cache_folder
from labkit.experiments.generator_prior import bare
from labkit.models import features, load_model
from labkit.models.generator import Generator
from labkit.models.training import save_network

WEIGHTS = Path(__file__).parents[1] / "labkit" / "models" / "weights"
CRITIC, JUDGE, WORLD = "minivgg", "minivgg-11", 2
DEPTHS = (2, 6, 13, 19)  # layers of minivgg.features: after the stem, a pooling, the fourth, the last ReLU
SETTINGS: dict[str, Any] = {
    "scenes": 9000, "world": WORLD, "batch": 32, "rate": 4e-4, "critic_rate": 5e-4,
    "betas": (0.0, 0.99), "r1": 0.05, "lazy": 8, "gain": 8.0, "kin": 4, "variety": 3.0, "mean": 0.99,
    "fall": 0.35, "seed": 0,
}  # fmt: skip


def plain(split: str, n: int, world: int) -> tuple[np.ndarray, np.ndarray]:
    """Scenes of one object, plain paint and nothing else, as bytes (n, 3, 64, 64), with their classes."""
    path = cache_folder() / f"plain-v{RENDER_VERSION}-{split}-{world}-{n}.npz"
    if not path.exists():
        data = MiniBroden(n, split, world)

        drawn = stack((bare(data.scene(i)) for i in range(n)), cache=False)
        small = [
            F.avg_pool2d(torch.from_numpy(part).permute(0, 3, 1, 2).float(), 2)
            for part in np.array_split(drawn.images, max(1, n // 500))
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, images=(torch.cat(small) + 0.5).byte().numpy(), labels=drawn.labels)
    with np.load(path) as found:
        return found["images"], found["labels"]


def enlarged(pictures: Tensor) -> Tensor:
    """Pictures of 64 pixels at the networks' 128."""
    return F.interpolate(pictures, scale_factor=2, mode="bilinear")


class Features(nn.Module):
    """A frozen minivgg with its batch norms folded in: what it gives at four depths."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        source, layers = load_model(CRITIC), []
        children = list(source.features)
        for number, layer in enumerate(children):
            if isinstance(layer, nn.Conv2d):
                layers.append(fuse_conv_bn_eval(layer, children[number + 1]))
            elif isinstance(layer, nn.BatchNorm2d):
                layers.append(nn.Identity())
            else:
                layers.append(nn.ReLU() if isinstance(layer, nn.ReLU) else layer)
        self.layers = nn.Sequential(*layers).requires_grad_(False).eval().to(dtype)
        self.layers = self.layers.to(memory_format=torch.channels_last)
        self.dtype = dtype

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x = ((enlarged(pictures) - 0.5) / 0.25).to(self.dtype, memory_format=torch.channels_last)
        found = []
        for number, layer in enumerate(self.layers):
            x = layer(x)
            if number in DEPTHS:
                found.append(x)
        return found


class Head(nn.Module):
    """What one depth's features say: real or made, at each place, given the class."""

    def __init__(self, channels: int, halvings: int, width: int = 96) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(halvings):
            layers += [spectral_norm(nn.Conv2d(channels, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
            channels = width
        layers += [spectral_norm(nn.Conv2d(width, width, 3, padding=1)), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers)
        self.out = spectral_norm(nn.Conv2d(width, 1, 1))
        self.kinds = spectral_norm(nn.Embedding(len(CLASSES), width))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x = self.body(x)
        places = self.out(x)[:, 0].flatten(1).float().mean(1)
        return places + (x.float().mean((2, 3)) * self.kinds(labels).float()).sum(1)


class Critic(nn.Module):
    """Four heads on frozen features: a score (N, 4) of how real a picture of a class is.

    Spectral norms alone keep the scores so small that the hinge never bends and only the means of classes are
    matched: ``gain`` brings them to its margins.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.features = Features(dtype)
        self.heads = nn.ModuleList([Head(32, 3, 64), Head(48, 2), Head(96, 1), Head(160, 1)])

    def forward(self, pictures: Tensor, labels: Tensor) -> Tensor:
        return self.look(pictures, labels)[0]

    def look(self, pictures: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The scores, and how far apart kin lie: (groups, 1 + depths), for the pixels and each depth.

        A batch holds ``kin`` pictures of a class one after the other; the logarithm of the mean standard
        deviation among them, 8 x 8 places each, tells a generator that always makes the same one.
        """
        found = self.features(pictures)
        apart = []
        for x in (pictures, *found):
            kin = F.avg_pool2d(x, x.shape[2] // 8).float().unflatten(0, (-1, SETTINGS["kin"]))
            apart.append((kin.var(1, correction=0) + 1e-6).sqrt().flatten(1).mean(1).log())
        scores = [head(x, labels) for head, x in zip(self.heads, found, strict=True)]
        return SETTINGS["gain"] * torch.stack(scores, 1), torch.stack(apart, 1)


def augmented(x: Tensor) -> Tensor:
    """Differentiable augmentation: brightness, colour, contrast, a shift, a hidden square; kin share one."""
    n, _, height, width = x.shape

    def by_lot(*shape: int) -> Tensor:
        return torch.rand(n // SETTINGS["kin"], *shape).repeat_interleave(SETTINGS["kin"], 0)

    x = x + 0.4 * (by_lot(1, 1, 1) - 0.5)
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (0.5 + by_lot(1, 1, 1)) + grey
    middle = x.mean((1, 2, 3), keepdim=True)
    x = (x - middle) * (0.75 + 0.5 * by_lot(1, 1, 1)) + middle
    reach = height // 8
    rows = torch.arange(height)[None] + (by_lot(1) * (2 * reach + 1)).long()
    columns = torch.arange(width)[None] + (by_lot(1) * (2 * reach + 1)).long()
    padded = F.pad(x, (reach,) * 4, mode="reflect").permute(0, 2, 3, 1)
    x = padded[torch.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    side = height // 3
    top, left = ((by_lot(1) * height).long() - side // 2 for _ in range(2))
    down = (torch.arange(height)[None] >= top) & (torch.arange(height)[None] < top + side)
    along = (torch.arange(width)[None] >= left) & (torch.arange(width)[None] < left + side)
    hidden = down[:, None, :, None] & along[:, None, None, :] & (by_lot(1, 1, 1) < 0.5)
    return torch.where(hidden, 0.5, x).contiguous(memory_format=torch.channels_last)


def drawn(rng: np.random.Generator, labels: np.ndarray, batch: int, kin: int) -> np.ndarray:
    """The numbers of a batch of pictures: ``kin`` of a class one after the other, the classes by lot."""
    classes = rng.choice(len(CLASSES), batch // kin, replace=False)
    return np.concatenate([rng.choice(np.flatnonzero(labels == k), kin, replace=False) for k in classes])


@torch.no_grad()
def made(generator: Generator, each: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """``each`` pictures of every class, with their classes."""
    labels = torch.arange(len(CLASSES)).repeat_interleave(each)
    codes = generator.codes(labels, generator=torch.Generator().manual_seed(seed))
    return torch.cat([generator(part) for part in codes.split(60)]), labels


def spread(pictures: Tensor, labels: Tensor) -> float:
    """The standard deviation of a pixel among the pictures of a class, on average."""
    return float(np.mean([float(pictures[labels == k].std(0).mean()) for k in labels.unique()]))


def moments(pictures: Tensor, judge: nn.Module) -> tuple[np.ndarray, np.ndarray]:
    last = [name for name in judge.layers if name.startswith("features")][-1]  # type: ignore[union-attr]
    rows = features(judge, enlarged(pictures).clamp(0, 1), last, pool="mean").double().numpy()
    return rows.mean(0), np.cov(rows.T)


def frechet(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """The Frechet distance of two Gaussians."""
    values = np.linalg.eigvals(a[1] @ b[1]).real.clip(0)
    return float(((a[0] - b[0]) ** 2).sum() + np.trace(a[1] + b[1]) - 2 * np.sqrt(values).sum())


@torch.no_grad()
def named(pictures: Tensor, labels: Tensor, judge: nn.Module) -> dict[str, float]:
    """The share of each class's pictures that the judge names."""
    said = torch.cat([judge(enlarged(part).clamp(0, 1)).argmax(1) for part in pictures.split(60)])
    right = (said == labels).float()
    return {CLASSES[k]: round(float(right[labels == k].mean()), 2) for k in labels.unique()}


def sheet(pictures: Tensor, path: Path, columns: int = 12) -> None:
    """Pictures side by side, a class a row, at twice their side."""
    rows = [torch.cat(list(row), 2) for row in pictures.split(columns)]
    whole = (torch.cat(rows, 1).permute(1, 2, 0) * 255 + 0.5).byte().numpy()
    Image.fromarray(whole).resize((2 * whole.shape[1], 2 * whole.shape[0]), Image.NEAREST).save(path)


class Run:
    """A training with all that a checkpoint keeps."""

    def __init__(self, folder: Path, pictures: int, settings: dict[str, Any], dtype: torch.dtype) -> None:
        self.folder, self.total, self.settings, self.dtype = folder, pictures, settings, dtype
        torch.manual_seed(settings["seed"])
        self.generator, self.critic = Generator(len(CLASSES)), Critic(dtype)
        for part in (self.generator, self.critic):
            part.to(memory_format=torch.channels_last)
        self.mean = copy.deepcopy(self.generator).eval().requires_grad_(False)
        self.rates = {"generator": settings["rate"], "critic": settings["critic_rate"]}
        variables = {
            "generator": self.generator.parameters(),
            "critic": [p for p in self.critic.parameters() if p.requires_grad],
        }
        self.steps = {
            name: torch.optim.Adam(variables[name], rate, betas=settings["betas"])
            for name, rate in self.rates.items()
        }
        self.shown, self.seconds = 0, 0.0
        self.apart: Tensor | None = None  # of real kin, a running mean
        self.history: list[dict[str, Any]] = []
        if (folder / "checkpoint.pt").exists():
            kept = torch.load(folder / "checkpoint.pt", weights_only=False)
            for name in ("generator", "mean"):
                getattr(self, name).load_state_dict(kept[name])
            self.critic.heads.load_state_dict(kept["heads"], strict=False)
            for name, optimizer in self.steps.items():
                if name == "critic" and len(kept["critic steps"]["param_groups"][0]["params"]) != len(
                    optimizer.param_groups[0]["params"]
                ):
                    continue  # noqa
                optimizer.load_state_dict(kept[f"{name} steps"])
            self.shown, self.seconds, self.history = kept["shown"], kept["seconds"], kept["history"]
            torch.set_rng_state(kept["chance"])

    def keep(self) -> None:
        """Write the checkpoint, whole."""
        kept = {
            "generator": self.generator.state_dict(), "mean": self.mean.state_dict(),
            "heads": self.critic.heads.state_dict(), "shown": self.shown, "seconds": self.seconds,
            "history": self.history, "chance": torch.get_rng_state(),
            **{f"{name} steps": o.state_dict() for name, o in self.steps.items()},
        }  # fmt: skip
        torch.save(kept, self.folder / "checkpoint.part")
        (self.folder / "checkpoint.part").replace(self.folder / "checkpoint.pt")

    def step(self, real: Tensor, labels: Tensor) -> dict[str, Any]:
        """One step of the critic and one of the generator."""
        s, n = self.settings, len(real)
        left = (1 - self.shown / self.total) / s["fall"]
        for name, optimizer in self.steps.items():
            for group in optimizer.param_groups:
                group["lr"] = self.rates[name] * min(1.0, max(left, 0.02))
        told: dict[str, Any] = {}
        bf16 = torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16)
        hot = F.one_hot(labels, len(CLASSES)).float()
        with bf16:
            fake = self.generator(torch.cat([torch.randn(n, self.generator.noise), hot], 1))
            shown = augmented(torch.cat([real, fake.detach()]))
            both, apart = self.critic.look(shown, torch.cat([labels, labels]))
        says, replies = both.split(n)
        own_apart = apart[: n // s["kin"]].mean(0).detach()
        self.apart = own_apart if self.apart is None else self.apart.lerp(own_apart, 0.05)
        loss = F.relu(1 - says).mean() + F.relu(1 + replies).mean()
        if (self.shown // n) % s["lazy"] == 0:
            seen = augmented(real).requires_grad_(True)
            with bf16:
                score = self.critic(seen, labels).mean(1).sum()
            (slope,) = torch.autograd.grad(score, seen, create_graph=True)
            steep = (slope.float() ** 2).flatten(1).sum(1).mean()
            loss = loss + s["lazy"] * s["r1"] / 2 * steep
            told["slope"] = float(steep.detach())
        self.steps["critic"].zero_grad()
        loss.backward()
        self.steps["critic"].step()
        with bf16:
            scores, apart = self.critic.look(augmented(fake), labels)
        short = F.relu(self.apart - apart)  # of kin that lie less far apart than real ones
        own = s["variety"] * short.mean() - scores.mean()
        self.steps["generator"].zero_grad()
        own.backward()
        self.steps["generator"].step()
        decay = min(s["mean"], (1 + self.shown / n) / (10 + self.shown / n))
        with torch.no_grad():
            for kept, now in zip(self.mean.parameters(), self.generator.parameters(), strict=True):
                kept.lerp_(now, 1 - decay)
        self.shown += n
        told["short"] = [round(float(v), 2) for v in short.detach().mean(0)]
        return told | {"real": float(says.detach().mean()), "made": float(replies.detach().mean())}


def judged(
    generator: Generator, each: int, judge: nn.Module, truth: tuple[np.ndarray, np.ndarray], seed: int = 1
) -> dict[str, Any]:
    """What the judge says of pictures of every class, beside real ones of the same number."""
    pictures, labels = made(generator, each, seed)
    shares = named(pictures, labels, judge)
    return {
        "named": round(float(np.mean(list(shares.values()))), 3),
        "named by class": shares,
        "spread": round(spread(pictures, labels), 4),
        "frechet": round(frechet(moments(pictures, judge), truth), 3),
    }


def train(run: Run, images: np.ndarray, labels: np.ndarray, truth: tuple[Tensor, Tensor], every: int) -> None:
    batch = run.settings["batch"]
    told: dict[str, Any] = {}
    known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    while run.shown < run.total:
        begun = time.process_time()
        goal = min(run.total, (run.shown // every + 1) * every)
        while run.shown < goal:
            rows = drawn(np.random.default_rng(run.shown), labels, batch, run.settings["kin"])
            real = torch.from_numpy(images[rows]).float() / 255
            turned = torch.rand(batch) < 0.5
            real[turned] = real[turned].flip(3)
            told |= run.step(real, torch.from_numpy(labels[rows]))
        run.seconds += time.process_time() - begun
        judge = JUDGE if (WEIGHTS / f"{JUDGE}.safetensors").exists() else "minivgg-2"
        run.keep()
        if judge not in known:
            known[judge] = moments(truth[0], load_model(judge))
        found = judged(run.mean, 20, load_model(judge), known[judge])
        found |= {"pictures": run.shown, "seconds": round(run.seconds), "judge": judge}
        run.history.append(found)
        run.keep()
        sheet(made(run.mean, 12)[0], run.folder / f"sheet-{run.shown:06d}.png")
        print(
            {k: v if isinstance(v, list) else round(v, 3) for k, v in told.items()},
            json.dumps(found),
            flush=True,
        )


def write(run: Run, truth: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], note: str) -> None:
    """Put the running mean into the package, judged as it is shipped: in half precision."""
    generator = copy.deepcopy(run.mean)
    generator.load_state_dict({k: v.half().float() for k, v in generator.state_dict().items()})
    judge = load_model(JUDGE)
    found = judged(generator, 100, judge, moments(truth[0], judge), seed=2)
    real = named(truth[0], truth[1], judge)
    found["of real pictures"] = {
        "named": round(float(np.mean(list(real.values()))), 3),
        "named by class": real,
        "spread": round(spread(*truth), 4),
        "frechet": round(frechet(moments(truth[0], judge), moments(other[0], judge)), 3),
    }
    card = {
        "architecture": "style generator", "classes": list(CLASSES), "takes": "codes (N, noise + classes)",
        "gives": "pictures (N, 3, 64, 64) in [0, 1]", "noise": run.mean.noise, "side": run.mean.side,
        "seed": run.settings["seed"], "faults": [], "render_version": RENDER_VERSION,
        "recipe": {
            **run.settings, "pictures": run.shown, "total": run.total, "critic": CRITIC,
            "depths": [f"features.{k}" for k in DEPTHS], "cpu_seconds": round(run.seconds),
            "scenes are": "one object, plain paint, no clutter",
        },
        **({"note": note} if note else {}), "judge": JUDGE, "judged": found,
    }  # fmt: skip
    print(save_network(generator, WEIGHTS, "generator", card), json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=70_000)
    parser.add_argument("--folder", type=Path, default=Path("build/generator"))
    parser.add_argument("--every", type=int, default=4000)
    parser.add_argument("--single", action="store_true", help="in float32: slower where bf16 is fast")
    parser.add_argument("--draw", action="store_true", help="only draw the scenes")
    parser.add_argument("--write", action="store_true", help="write the last checkpoint into the package")
    parser.add_argument("--note", default="", help="what of the recipe was changed on the way, for the card")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.folder.mkdir(parents=True, exist_ok=True)
    images, labels = plain("train", SETTINGS["scenes"], WORLD)
    (tested, kinds), (more, others) = (plain(split, 1200, WORLD) for split in ("test", "val"))
    if options.draw:
        return
    truth = torch.from_numpy(tested).float() / 255, torch.from_numpy(kinds)
    other = torch.from_numpy(more).float() / 255, torch.from_numpy(others)
    dtype = torch.float32 if options.single else torch.bfloat16
    run = Run(options.folder, options.pictures, SETTINGS, dtype)
    if options.write:
        write(run, truth, other, options.note)
    else:
        train(run, images, labels, truth, options.every)


if __name__ == "__main__":
    main()
