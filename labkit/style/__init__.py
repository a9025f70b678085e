"""Pictures made from features: inversion, dreams, textures and styles."""

from labkit.core.registry import Method
from labkit.style.dreaming import Dream, deepdream, deepdream_result
from labkit.style.feed_forward import Taught, stylize, train_style, train_style_result
from labkit.style.gram import Styled, style_transfer, style_transfer_result
from labkit.style.inversion import Inversion, invert, invert_result
from labkit.style.nonparametric import Grown, efros_leung, efros_leung_result
from labkit.style.synthesis import gram_texture, gram_texture_result

METHODS: dict[str, Method] = {
    "deepdream": Method(
        deepdream,
        "DeepDream",
        "Mordvintsev, Olah and Tyka 2015",
        {"octaves": 2, "steps": 2},
        takes=("model", "pictures", "layer of a dream"),
        gives="pictures",
        dead="any",
        amplifies=True,
    ),
    "efros_leung": Method(
        efros_leung,
        "Efros-Leung",
        "Efros and Leung 1999",
        {"side": 8, "window": 3},
        takes=("texture",),
        gives="patches",
        dead="any",
        models="agnostic",
        scope="global",
    ),
    "gram_texture": Method(
        gram_texture,
        "texture",
        "Gatys, Ecker and Bethge 2015",
        {"steps": 2},
        takes=("model", "texture", "layers"),
        gives="patches",
        dead="any",
        amplifies=True,
    ),
    "invert": Method(
        invert,
        "Inversion",
        "Mahendran and Vedaldi 2015",
        {"steps": 4},
        takes=("model", "layer", "features", "side"),
        gives="pictures",
        needs=("colour",),
        dead="any",
        amplifies=True,
    ),
    "style_transfer": Method(
        style_transfer,
        "style transfer",
        "Gatys, Ecker and Bethge 2016",
        {"steps": 2},
        takes=("model", "content", "style"),
        gives="pictures",
        dead="any",
        amplifies=True,
    ),
    "stylize": Method(
        stylize,
        "feed-forward",
        "Johnson et al. 2016",
        takes=("style network", "pictures"),
        gives="pictures",
        dead="any",
    ),
    "train_style": Method(
        train_style,
        "feed-forward",
        "Johnson, Alahi and Fei-Fei 2016",
        {"steps": 2, "crop": 16, "batch": 2},
        takes=("model", "content", "style"),
        gives="network",
        dead="any",
        amplifies=True,
        scope="global",
    ),
}

__all__ = [
    "METHODS",
    "Dream",
    "Grown",
    "Inversion",
    "Styled",
    "Taught",
    "deepdream",
    "deepdream_result",
    "efros_leung",
    "efros_leung_result",
    "gram_texture",
    "gram_texture_result",
    "invert",
    "invert_result",
    "style_transfer",
    "style_transfer_result",
    "stylize",
    "train_style",
    "train_style_result",
]
