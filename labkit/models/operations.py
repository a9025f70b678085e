"""The operations of torch, one list: the canonical name of each, its other names, and what it does.

A function has many spellings (``torch.concat``, ``x.clip_()``, ``2 - x``) and autograd spells it once more
(``LeakyReluBackward0``). Whoever asks what an operation does asks here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

# What torch's functions do. A kind is what some method treats alike.
OPERATIONS: dict[str, str] = {
    "relu": "hardtanh relu relu6",
    # of one value each, and not linear
    "bend": """abs acos acosh asin asinh atan atanh celu clamp clamp_max clamp_min cos cosh elu erf erfc exp
        exp2 expm1 gelu hardshrink hardsigmoid hardswish leaky_relu log log10 log1p log2 logsigmoid mish pow
        prelu reciprocal rrelu rsqrt selu sigmoid silu sin sinh softplus softshrink softsign sqrt square tan
        tanh tanhshrink threshold""",
    "gate": "glu",
    "comparison": "ge gt heaviside le lt sign",
    "product": "addcdiv addcmul bmm div matmul mm mul prod",
    "weights": """addmm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution
        linear""",
    "average": """adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d avg_pool1d avg_pool2d avg_pool3d
        mean sum""",
    "max_pool": """adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d max_pool1d max_pool2d
        max_pool3d""",
    "largest": "amax max",
    "extreme": "amin maximum min minimum",
    "softmax": "log_softmax softmax softmin",
    "norm": "batch_norm group_norm instance_norm layer_norm normalize",
    "attention": "multi_head_attention_forward scaled_dot_product_attention",
    "sum": "add sub",
    "sign": "neg positive",
    "dropout": "dropout dropout1d dropout2d dropout3d feature_dropout",
    # values and their order stay
    "reshape": "clone contiguous flatten reshape reshape_as squeeze unflatten unsqueeze view view_as",
    "cast": "cuda double float to type_as",
    # values go to other places, some to several and some to none
    "move": """channel_shuffle chunk expand expand_as flip gather get getitem index_select movedim narrow pad
        permute pixel_shuffle pixel_unshuffle repeat roll select split split_with_sizes t tile transpose
        unbind unfold""",
    "join": "cat column_stack copy dstack hstack setitem stack vstack",
    # linear in all of their tensors together
    "write": """broadcast_tensors index_add index_copy index_put masked_fill masked_scatter meshgrid scatter
        scatter_add where""",
    # of many values, not linear, and of no kind above
    "other": """cosine_similarity cross_entropy cummax cummin cumprod det dist floor_divide fmod
        fractional_max_pool2d fractional_max_pool3d gru gumbel_softmax inverse kthvalue linalg_norm
        linalg_vector_norm local_response_norm logcumsumexp logsumexp lp_pool1d lp_pool2d lstm max_unpool2d
        median mode nanmedian norm pairwise_distance quantile remainder renorm rnn_relu rnn_tanh sort std
        std_mean svd topk var var_mean""",
}
# canonical name: the other names that torch and autograd have for it
ALIASES: dict[str, str] = {
    "abs": "absolute", "acos": "arccos", "acosh": "arccosh", "asin": "arcsin", "asinh": "arcsinh",
    "atan": "arctan", "atanh": "arctanh", "batch_norm": "native_batch_norm cudnn_batch_norm",
    "cat": "concat concatenate", "clamp": "clip", "div": "divide true_divide truediv",
    "floor_divide": "floordiv", "ge": "greater_equal", "gt": "greater", "le": "less_equal", "lt": "less",
    "matmul": "linalg_matmul", "movedim": "moveaxis", "mul": "multiply", "neg": "negative",
    "prelu": "prelu_kernel", "remainder": "mod", "rrelu": "rrelu_with_noise", "sigmoid": "expit",
    "sub": "subtract", "transpose": "swapaxes swapdims", "vstack": "row_stack",
}  # fmt: skip
# what Python writes as __i...__ (in place) and __r...__ (reflected)
ARITHMETIC = {"add", "div", "floordiv", "matmul", "mod", "mul", "pow", "sub", "truediv"}


def operations(*kinds: str) -> frozenset[str]:
    """The canonical names of all functions of these kinds.

    >>> sorted(operations("relu"))
    ['hardtanh', 'relu', 'relu6']
    """
    return frozenset(name for kind in kinds for name in OPERATIONS[kind].split())


def _key(name: str) -> str:
    return name.replace("_", "").lower()


_KNOWN = {_key(name): name for name in operations(*OPERATIONS)} | {
    _key(alias): name for name, aliases in ALIASES.items() for alias in aliases.split()
}


def canonical(name: str) -> str:
    """The one name of an operation, whatever torch or autograd calls it there; an unknown one stays.

    >>> canonical("LeakyRelu"), canonical("relu_"), canonical("special_expit"), canonical("wavelet")
    ('leaky_relu', 'relu', 'sigmoid', 'wavelet')
    """
    bare = name.strip("_").removeprefix("special_").removesuffix("_with_indices")
    return _KNOWN.get(_key(bare), bare)


class Spelling(NamedTuple):
    """The canonical name; whether the first tensor is written to; whether the operands stand reversed, as in
    ``x.__rsub__(2)``, which is 2 - x."""

    name: str
    in_place: bool
    reflected: bool


@lru_cache(maxsize=4096)
def spelling(function: Callable) -> Spelling:
    """What a torch function's own name says.

    >>> import torch
    >>> spelling(torch.Tensor.clip_)
    Spelling(name='clamp', in_place=True, reflected=False)
    """
    raw = getattr(function, "__name__", "").partition(".")[0]  # torch.ops name their overload after a dot
    bare, magic = raw.strip("_"), raw.startswith("__") and raw.endswith("__")
    first = bare[:1] if (magic and bare[1:] in ARITHMETIC) or bare == "rsub" else ""
    in_place = first == "i" or (raw.endswith("_") and not magic)
    return Spelling(canonical(bare[1:] if first else bare), in_place, first == "r")
