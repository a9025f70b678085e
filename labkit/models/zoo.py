"""Models by name: the kit's own, every torchvision classifier, and anyone's network behind one contract.

A model takes RGB in [0, 1], float32 (N, 3, H, W), and returns logits; normalization lives inside it. It
carries ``.classes``, ``.input_size`` and ``.layers``, and bundled ones their ``.card``.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from numpy import ndarray
from safetensors.torch import load_file
from torch import Tensor, nn

from labkit.core.checks import check_channels, check_positive, nearest
from labkit.core.door import weight_of
from labkit.models.generator import Generator
from labkit.models.miniresnet import MiniResNet
from labkit.models.minivgg import MiniVGG
from labkit.models.receptive_fields import layer_names
from labkit.models.stylenet import StyleNet

WEIGHTS = Path(__file__).parent / "weights"
ARCHITECTURES: dict[str, type[nn.Module]] = {"minivgg": MiniVGG, "miniresnet": MiniResNet}
DESIGN = ("widths", "pools", "stem", "norm", "dropout", "grey")  # what a card may say of its architecture


class Normalization(nn.Module):
    """(images - mean) / std, each per channel, in the pictures' precision and on their device."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        with torch.inference_mode(False):  # what is made in it, autograd cannot keep
            for name, value in (("mean", mean), ("std", std)):
                self.register_buffer(name, torch.tensor(value).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        check_channels(images, self.mean.shape[1])
        return (images - self.mean.to(images)) / self.std.to(images)  # the network may move without it


class Wrapped(nn.Module):
    """A network with its normalization in front, under the network's own layer names.

    It shares the inner network's children, parameters and buffers, so ``features.12`` keeps its name. The
    normalization lies beside them, so that the network itself stays as its owner made it. Its first answer
    is held against the classes' names; raises ValueError where they are not as many.
    """

    inner: nn.Module
    normalization: Normalization
    counted: bool = False  # whether classes have been held against an answer

    def __init__(self, inner: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        object.__setattr__(self, "inner", inner)
        normalization = Normalization(mean, std)
        weight = weight_of(inner, normalization.mean)
        object.__setattr__(self, "normalization", normalization.to(weight.device, weight.dtype))
        self._modules, self._parameters, self._buffers = inner._modules, inner._parameters, inner._buffers
        self._non_persistent_buffers_set = inner._non_persistent_buffers_set
        self.training = inner.training

    @property
    def labkit_mean(self) -> Tensor:
        return self.normalization.mean

    def _apply(self, fn: Any, recurse: bool = True) -> Wrapped:
        self.normalization._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def train(self, mode: bool = True) -> Wrapped:
        self.inner.train(mode)
        self.training = mode
        return self

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        outputs = self.inner(self.normalization(images))
        if not self.counted:
            self._count(outputs)
        return outputs

    def _count(self, outputs: Any) -> None:
        """Check once that there are as many names as scores."""
        names = vars(self).get("classes")
        if names is not None and isinstance(outputs, Tensor) and outputs.ndim == 2:
            count = outputs.shape[1]
            if len(names) != count:
                each = f"each of the network's {count} scores" if count != 1 else "the network's one score"
                raise ValueError(
                    f"classes must name {each}; got {len(names)} names. "
                    f"Set model.classes to as many, for example [str(k) for k in range({count})]."
                )
        object.__setattr__(self, "counted", True)


def _dress(
    model: nn.Module, classes: Sequence[str], input_size: int | None, card: dict[str, Any] | None
) -> nn.Module:
    given: dict[str, Any] = {"classes": list(classes), "layers": layer_names(model)}
    if input_size is not None:  # a generator takes no pictures
        given["input_size"] = int(input_size)
    for name, value in {**given, "card": card or {}}.items():
        object.__setattr__(model, name, value)  # past nn.Module: a network may have a child named "layers"
    return model.eval()


def _per_channel(argument: str, value: Any) -> list[float]:
    """The numbers of a sequence, an array or a tensor, one a channel, which must suit pictures in [0, 1]."""
    try:
        given = torch.as_tensor(value, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        given = torch.empty(0)
    numbers = given.flatten().tolist()
    if given.ndim == 0 or not numbers:
        raise ValueError(
            f"{argument} must have one entry a channel, as in {argument}=(0.5, 0.5, 0.5); got {value!r}."
        )
    if not all(0 <= n <= 1 for n in numbers) or (argument == "std" and 0 in numbers):
        low = "above 0" if argument == "std" else "from 0"
        raise ValueError(
            f"{argument} must be that of pictures in [0, 1], each entry {low} to 1; got {value!r}. "
            "Divide what belongs to pictures of 0 to 255 by 255."
        )
    return numbers


def wrap_model(
    module: nn.Module,
    *,
    classes: Sequence[str],
    input_size: int,
    mean: Sequence[float] | ndarray | Tensor = (0.0, 0.0, 0.0),
    std: Sequence[float] | ndarray | Tensor = (1.0, 1.0, 1.0),
) -> nn.Module:
    """Anyone's classifier on the kit's contract: pictures in [0, 1] in, normalization inside, eval mode.

    ``mean`` and ``std`` are those the network was trained with, per channel, for pictures in [0, 1]; the
    network itself is shared, not copied, put into eval mode, and keeps its layer names, its precision and its
    device, also where these change later. Raises TypeError for what is no network, ValueError for numbers
    that are not those of pictures in [0, 1], a standard deviation of 0, or lengths that differ; its first
    answer raises ValueError where ``classes`` are not as many as the scores (N, classes); of a tuple or an
    object, which a callable target reads, nothing is counted.

    >>> net = wrap_model(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), classes=["a", "b"], input_size=2)
    >>> net.layers, net(torch.zeros(1, 3, 2, 2)).shape
    (['0', '1'], torch.Size([1, 2]))
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}.")
    if not isinstance(classes, Iterable):
        raise TypeError(
            f"classes must be the list of the classes' names, in the order of the outputs; got {classes!r}. "
            "Write for example [str(k) for k in range(1000)] where they have no names."
        )
    check_positive("input_size", input_size)
    means, stds = _per_channel("mean", mean), _per_channel("std", std)
    if len(means) != len(stds):
        raise ValueError(f"mean and std must have one entry a channel; got {len(means)} and {len(stds)}.")
    return _dress(Wrapped(module, means, stds), classes, input_size, None)


def bundled_models() -> list[str]:
    """The names of the networks that ship with the kit: all name what a picture shows."""
    others = {*bundled_generators(), *bundled_styles()}
    return sorted({path.stem for path in WEIGHTS.glob("*.safetensors")} - others)


def bundled_generators() -> list[str]:
    """The names of the networks that ship with the kit and make pictures from codes."""
    return sorted(path.stem for path in WEIGHTS.glob("generator*.safetensors"))


def bundled_styles() -> list[str]:
    """The names of the networks that ship with the kit and give pictures a style."""
    return sorted(path.stem for path in WEIGHTS.glob("style-*.safetensors"))


def _torchvision_models() -> list[str]:
    from torchvision import models

    return models.list_models(module=models)


def list_models() -> list[str]:
    """Every classifier ``load_model`` knows: the bundled networks, then torchvision's.

    >>> "squeezenet1_1" in list_models()
    True
    """
    return bundled_models() + _torchvision_models()


def _card(name: str) -> dict[str, Any]:
    return json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8"))


def _filled(model: nn.Module, name: str) -> nn.Module:
    """A bundled network with its weights, which are kept in half precision."""
    state = load_file(WEIGHTS / f"{name}.safetensors")
    model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return model


def load_model(name: str) -> nn.Module:
    """A network by name, in eval mode, on the kit's contract.

    Bundled networks (``minivgg``, ...) need no network. ``load_model("generator")`` takes codes and gives
    pictures in [0, 1] of ``side`` pixels: see ``labkit.models.generator.Generator`` and its ``codes``. Names
    like ``style-four`` take pictures and give them in a style: see ``labkit.style.stylize``.
    For torchvision's, pretrained weights are taken from torch's own cache (``TORCH_HOME``) or downloaded into
    it with a progress bar; offline, the error says what to run.
    Raises ValueError for an unknown name, with the nearest known ones, RuntimeError for weights that are not
    there and cannot be downloaded, or cannot be read.

    >>> load_model("minivgg-random").classes[:2]
    ['fire engine', 'bus']
    """
    if name in bundled_models():
        card = _card(name)
        given = {key: card[key] for key in DESIGN if key in card}
        model = _filled(ARCHITECTURES[card["architecture"]](len(card["classes"]), **given), name)
        return _dress(model, card["classes"], card["input_size"], card)
    if name in bundled_generators():
        card = _card(name)
        return _dress(_filled(Generator(len(card["classes"])), name), card["classes"], None, card)
    if name in bundled_styles():
        card = _card(name)
        styles = len(card["styles"]) if card["norm"] == "conditional" else 1
        return _dress(_filled(StyleNet(styles, card["norm"]), name), [], None, card)
    if name not in _torchvision_models():
        known = list_models() + bundled_generators() + bundled_styles()
        close = ", ".join(repr(n) for n in nearest(name, known))
        raise ValueError(
            f"name must be one of labkit.models.list_models(); got {name!r}. The nearest are {close}."
        )
    return _pretrained(name)


def torchvision_weights(name: str) -> Any:
    """The entry of torchvision's registry that belongs to a classifier: its first ImageNet-1k weights."""
    from torchvision import models

    return next(iter(models.get_model_weights(name)))


def _pretrained(name: str) -> nn.Module:
    from torchvision import models

    from labkit.data.downloads import fetch_weights

    entry = torchvision_weights(name)
    preset = entry.transforms()
    path = fetch_weights(name, entry.url)
    try:  # torchvision's own loading: it renames DenseNet's keys and turns on GoogLeNet's input transform
        inner = models.get_model(name, weights=entry)
    except (RuntimeError, OSError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise RuntimeError(
            f"the weights of {name!r} in {path} cannot be read ({type(error).__name__}). "
            f"Delete that file and run: labkit fetch {name}"
        ) from error
    model = Wrapped(inner, preset.mean, preset.std)
    return _dress(model, entry.meta["categories"], preset.crop_size[0], {"name": name, "weights": str(entry)})
