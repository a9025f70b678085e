"""Photographs: reading, cutting to size, encoding. The one file of the library that meets PIL."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image, ImageOps
from torch import Tensor

from labkit.core.checks import check_positive

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class Photo(NamedTuple):
    """A picture with its name and, where it is known, its ImageNet class index."""

    name: str
    image: Float[Tensor, "3 S S"]
    label: int | None


def _to_grey_levels(picture: Image.Image) -> Image.Image:
    """A picture of 16 bits or of real numbers in 8 bits, which PIL would cut off at 255 instead."""
    values = np.asarray(picture, np.float64)
    top = 1.0 if picture.mode == "F" else 65535.0
    grey = Image.fromarray((values / top * 255 + 0.5).clip(0, 255).astype(np.uint8))
    grey.info = picture.info
    return grey


def _open(source: Path | bytes, name: str) -> Image.Image:
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            real = picture.mode.startswith("I") or picture.mode == "F"
            shown = _to_grey_levels(picture) if real else picture
            return ImageOps.exif_transpose(shown).convert("RGBA")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"there is no picture at {name}. Check the path; relative ones start at {Path.cwd()}."
        ) from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{name} is not a picture that can be read ({type(error).__name__}). "
            f"Use one of {', '.join(SUFFIXES)}, and check that the file is whole."
        ) from error


def _fit(picture: Image.Image, size: int | None) -> Float[Tensor, "3 H W"]:
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(white, picture).convert("RGB")
    if size is not None:
        check_positive("size", size)
        flat = ImageOps.fit(flat, (size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(flat)).permute(2, 0, 1).float() / 255


def load_photo(path: str | os.PathLike[str], size: int | None = None) -> Float[Tensor, "3 H W"]:
    """A photograph from a file as float32 RGB in [0, 1].

    Turned upright as its EXIF says; transparency lies on white; with ``size`` the centre square is cut and
    resized with antialiasing. Raises FileNotFoundError for a missing file, ValueError for one that is no
    picture.
    """
    return _fit(_open(Path(path).expanduser(), str(path)), size)


def load_codes(path: str | os.PathLike[str], size: int | None = None) -> Int[np.ndarray, "H W"]:
    """A label map from a file: R + 256 G of a picture in colour, the values of one in grey or of a palette.

    With ``size`` the centre square is cut, as ``load_photo`` does, and resized without mixing labels. Raises
    FileNotFoundError for a missing file, ValueError for one that is no picture.
    """
    try:
        with Image.open(Path(path).expanduser()) as picture:
            shown = picture if picture.mode in ("P", "L", "I;16", "I") else picture.convert("RGB")
            if size is not None:
                check_positive("size", size)
                shown = ImageOps.fit(shown, (size, size), Image.Resampling.NEAREST)
            values = np.asarray(shown).astype(np.int64)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no label map at {path}. Check that the folder is whole.") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"{path} is not a label map that can be read ({type(error).__name__}). Check that it is whole."
        ) from error
    return values if values.ndim == 2 else values[..., 0] + 256 * values[..., 1]


def is_cropped(path: str | os.PathLike[str], size: int) -> bool:
    """Whether ``load_photo(path, size)`` cuts away a pixel's width or more; only the file's head is read."""
    with Image.open(Path(path).expanduser()) as picture:
        return abs(picture.width - picture.height) * size >= min(picture.size)


def decode_photo(
    data: bytes, size: int | None = None, name: str = "the uploaded file"
) -> Float[Tensor, "3 H W"]:
    """The same for a picture's bytes, as an upload button gives them."""
    return _fit(_open(bytes(data), name), size)


def encode(image: Float[Tensor, "3 H W"], kind: Literal["png", "jpeg"] = "png", quality: int = 88) -> bytes:
    """A picture in [0, 1] as the bytes of a PNG or JPEG file. Raises ValueError for another shape."""
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image must have the shape (3, H, W); got {tuple(image.shape)}. Pass one picture.")
    array = (image.detach().cpu().clamp(0, 1) * 255 + 0.5).byte().permute(1, 2, 0).numpy()
    out = io.BytesIO()
    options = {"compress_level": 1} if kind == "png" else {"quality": quality}
    Image.fromarray(array).save(out, kind, **options)
    return out.getvalue()


def save_photo(image: Float[Tensor, "3 H W"], path: str | os.PathLike[str]) -> Path:
    """Write a picture in [0, 1] as PNG or JPEG, as the path's ending says; returns the path."""
    target = Path(path)
    kind = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg"}.get(target.suffix.lower())
    if kind is None:
        raise ValueError(f"path must end in .png or .jpg; got {target.name!r}.")
    target.write_bytes(encode(image, kind))  # type: ignore[arg-type]
    return target


def photo_label(name: str) -> int | None:
    """The ImageNet class index that a file's name begins with, or None.

    >>> photo_label("207_golden_retriever.jpg"), photo_label("holiday.jpg")
    (207, None)
    """
    match = re.match(r"(\d{1,3})[_-]", name)
    return int(match.group(1)) if match else None


def _carried() -> list[tuple[str, np.ndarray, int | None]]:
    """The photographs inside scikit-image's and scikit-learn's wheels, with their ImageNet class."""
    import skimage
    from sklearn.datasets import load_sample_image

    folder = Path(skimage.__file__).parent / "data"
    found: list[tuple[str, np.ndarray, int | None]] = []
    wanted = {"chelsea.png": ("cat", 281), "coffee.png": ("coffee", 967), "rocket.jpg": ("rocket", 657),
              "astronaut.png": ("astronaut", None)}  # fmt: skip
    for file, (name, label) in wanted.items():
        if (folder / file).exists():
            found.append((name, np.asarray(Image.open(folder / file).convert("RGB")), label))
    for file, name in (("flower.jpg", "flower"), ("china.jpg", "pagoda")):
        found.append((name, load_sample_image(file), None))
    return found


def photo_files(folder: str | os.PathLike[str], cure: str = "") -> list[Path]:
    """The files of a folder, and of those within it, that are pictures by their ending; sorted.

    Raises FileNotFoundError for a folder that is not there or holds none, with ``cure`` as its last sentence.
    """
    place = Path(folder).expanduser()
    files = sorted(p for p in place.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not files:
        cure = cure or f"Pass a folder with {', '.join(SUFFIXES[:3])} files."
        raise FileNotFoundError(f"there is no picture in {place}. {cure}")
    return files


def sample_photos(size: int = 224, folder: str | os.PathLike[str] | None = None) -> list[Photo]:
    """Photographs to look at, square and float32 in [0, 1].

    From ``folder``, else from the folder that ``LABKIT_PHOTOS`` names, else those that the wheels of
    scikit-image and scikit-learn carry (no download). A name that begins with a number, as in
    ``207_golden_retriever.jpg``, gives the ImageNet class. Raises FileNotFoundError for a folder that is not
    there or holds no picture.
    """
    chosen = folder or os.environ.get("LABKIT_PHOTOS")
    if not chosen:
        made = ((n, Image.fromarray(a).convert("RGBA"), k) for n, a, k in _carried())
        return [Photo(name, _fit(picture, size), label) for name, picture, label in made]
    files = photo_files(chosen, f"Set LABKIT_PHOTOS to a folder with {', '.join(SUFFIXES[:3])} files.")
    return [Photo(p.stem, load_photo(p, size), photo_label(p.name)) for p in files]
