"""A generator prior for activation maximization (DGN-AM): the code is sought whose picture a target likes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from labkit.core.checks import check_finite, check_positive, check_weight
from labkit.core.door import seeded, sides_of, weight_of
from labkit.core.registry import signature_of
from labkit.models import Target, borrow, scores
from labkit.optimize import minimize

Bound: TypeAlias = float | Float[Tensor, " D"]

_CUT = (
    "the code must decide the target's score by steps that can be differentiated; no gradient reaches it. "
    "Remove the detach() or no_grad() in the generator or the model, or name another target."
)


class Dreamed(NamedTuple):
    """``images`` (N, C, H, W), as the generator gives them for ``codes`` (N, D); ``activations`` (N,): the
    target's score of each at the end, and ``before`` (N,) at the start; ``losses`` of the search;
    ``complete``: False if ``should_stop`` ended it."""

    images: Float[Tensor, "N C H W"]
    codes: Float[Tensor, "N D"]
    activations: Float[Tensor, " N"]
    before: Float[Tensor, " N"]
    losses: Float[Tensor, " T"]
    complete: bool


def _beginning(generator: nn.Module, codes: Any, count: int, draws: torch.Generator) -> Tensor:
    """The codes where the search begins: those given, the generator's own, or normal ones of its size."""
    if codes is not None:
        if (
            not isinstance(codes, Tensor)
            or codes.ndim < 2
            or len(codes) == 0
            or not codes.is_floating_point()
        ):
            got = f"{codes.dtype} {tuple(codes.shape)}" if isinstance(codes, Tensor) else type(codes).__name__
            raise ValueError(f"start must hold codes (N, ...), floating-point, N >= 1; got {got}.")
        check_finite("start", codes)
        return codes.detach().clone()
    begin: Any = getattr(generator, "start_codes", None)
    if begin is not None:
        return begin(count, generator=draws).detach().clone()
    size = getattr(generator, "code_size", None)
    if size is None:
        raise ValueError(
            "start must be given for a generator that does not carry .code_size: start=torch.randn(4, 128)."
        )
    return torch.randn(count, size, generator=draws, device=draws.device)


def _pictures(generator: nn.Module, codes: Tensor, side: tuple[int, int] | None) -> tuple[Tensor, Tensor]:
    """What the generator makes of the codes, and the same as the model takes it."""
    made = generator(codes.clone())
    if not isinstance(made, Tensor) or made.ndim != 4 or len(made) != len(codes):
        got = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        raise ValueError(f"generator must turn codes (N, ...) into pictures (N, C, H, W); it gives {got}.")
    low, high = (float(v) for v in made.detach().aminmax())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise ValueError(
            f"generator must give pictures in [0, 1]; it gives values from {low:.3g} to {high:.3g}. "
            "Bring them there: nn.Sequential(generator, nn.Sigmoid()), or (x + 1) / 2 for those of -1 to 1."
        )
    if side is None or tuple(made.shape[2:]) == side:
        return made, made
    return made, F.interpolate(made, size=side, mode="bilinear", antialias=side[0] < made.shape[2])


def dgn_am_result(
    model: nn.Module,
    target: Target,
    generator: nn.Module,
    *,
    start: Float[Tensor, "N D"] | None = None,
    count: int = 1,
    steps: int = 100,
    rate: float = 0.1,
    code_weight: float = 0.005,
    limits: tuple[Bound, Bound] | None = None,
    side: int | tuple[int, int] | None = None,
    draws: torch.Generator | None = None,
    progress: Callable[[float], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Dreamed:
    """``dgn_am`` with its codes and activations (see ``Dreamed``). Options and errors as there.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> maker = nn.Sequential(nn.Linear(5, 12), nn.Sigmoid(), nn.Unflatten(1, (3, 2, 2))).eval()
    >>> found = dgn_am_result(net, 1, maker, start=torch.zeros(4, 5), steps=5)
    >>> found.codes.shape, bool((found.activations > found.before).all())
    (torch.Size([4, 5]), True)
    """
    check_positive("count", count)
    check_weight("code_weight", code_weight)
    if not isinstance(generator, nn.Module):
        raise TypeError(
            f"generator must be a torch.nn.Module from codes to pictures; got {type(generator).__name__}. "
            'The kit\'s own is load_model("generator"); randomness is drawn from draws=.'
        )
    sized = side is not None or getattr(model, "input_size", None) is not None
    wanted = sides_of(model, side) if sized else None
    with borrow(model, frozen=True), borrow(generator, frozen=True):
        given = _beginning(generator, start, count, seeded(draws, "draws"))
        own = weight_of(generator, given)
        codes = given.to(own.device, own.dtype)
        bounds = getattr(generator, "code_range", None) if limits is None else limits
        ends = None if bounds is None else [torch.as_tensor(end).to(codes) for end in bounds]
        if ends is not None and not (ends[0] <= ends[1]).all():
            raise ValueError(
                "limits must be a lower and an upper end, the lower one first; got them crossed."
            )

        def score() -> Tensor:
            shown = _pictures(generator, codes, wanted)[1]
            return scores(model, shown.to(weight_of(model, shown)), target)

        def loss(_: int) -> tuple[Tensor, Tensor]:
            return -score().sum(), code_weight * (codes**2).sum()

        def clip(_: int) -> None:
            if ends is not None:
                codes.copy_(torch.minimum(torch.maximum(codes, ends[0]), ends[1]))

        with torch.no_grad():
            clip(0)
            before = score()
        found = minimize(
            [codes], loss, steps=steps, rate=rate, project=clip, refusal=_CUT, describe="DGN-AM",
            progress=progress, should_stop=should_stop,
        )  # fmt: skip
        with torch.no_grad():
            images = _pictures(generator, codes, None)[0]
            after = score()
    return Dreamed(
        images.detach().clamp(0, 1), codes.detach(), after.detach(), before, found.losses, found.complete
    )


@signature_of(dgn_am_result)
def dgn_am(*args: Any, **options: Any) -> Float[Tensor, "N C H W"]:
    """The pictures that a generator can make and the target likes best: gradient ascent on the code.

    The score of ``target`` for the generator's picture, less ``code_weight`` times the squared length of its
    code, is ascended by Adam; what the generator has learned keeps the picture like those it was trained on.
    ``generator``: any module, in eval mode, from codes (N, ...) to pictures in [0, 1]. Where the model
    carries ``.input_size`` or ``side`` is given, they are brought to it (bilinear) before it looks.
    ``start``: the codes to begin with; by default ``count`` of the generator's own ``start_codes``, else
    normal ones of its ``code_size``, from ``draws`` (None: seed 0).
    ``limits``: the lower and the upper end of every code's numbers, by default the generator's
    ``code_range``, if it has one. A target with a class for each code goes with as many codes.
    Raises TypeError for what is no module, ValueError for codes and pictures of another form and where no
    gradient reaches the code, RuntimeError for a model or a generator in training mode.

    Unit: picture value. Labels: post hoc, specific to differentiable models, global.
    Source: Nguyen et al. 2016, "Synthesizing the Preferred Inputs for Neurons in Neural Networks via Deep
    Generator Networks", equation 1 and section 3.2; they use gradient ascent with momentum, and their
    generator's codes are features of a layer.

    >>> net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2)).eval()
    >>> maker = nn.Sequential(nn.Linear(5, 12), nn.Sigmoid(), nn.Unflatten(1, (3, 2, 2))).eval()
    >>> dgn_am(net, 1, maker, start=torch.zeros(4, 5), steps=2).shape
    torch.Size([4, 3, 2, 2])
    """
    return dgn_am_result(*args, **options).images
