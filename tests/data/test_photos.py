"""Photographs: upright, flat on white, square, smooth; bytes there and back; sentences for broken files."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.data import load_photo, sample_photos
from labkit.data.photos import decode_photo, encode, is_cropped, photo_label, save_photo


def encoded(picture: Image.Image, kind: str = "png", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def quarters() -> np.ndarray:
    """Red, green, blue and white quarters, wider than high."""
    array = np.zeros((40, 60, 3), np.uint8)
    array[:20, :30], array[:20, 30:], array[20:, :30], array[20:, 30:] = (
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255),
    )  # fmt: skip
    return array


def test_a_picture_comes_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "q.png"
    Image.fromarray(quarters()).save(path)
    image = load_photo(path)
    assert image.dtype == torch.float32
    assert image.shape == (3, 40, 60)
    assert torch.equal(image, torch.from_numpy(quarters()).permute(2, 0, 1) / 255)
    assert torch.equal(load_photo(str(path)), image)


def test_the_centre_square_is_cut_and_resized() -> None:
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 14:46] = 255
    image = decode_photo(encoded(Image.fromarray(wide)), 10)
    assert image.shape == (3, 10, 10)
    assert bool((image == 1).all()), "the black sides are cut off"
    assert decode_photo(encoded(Image.fromarray(wide)), 64).shape == (3, 64, 64)


@pytest.mark.parametrize(
    ("size", "cut"), [((40, 40), False), ((41, 40), False), ((40, 42), True), ((90, 40), True)]
)
def test_a_picture_that_loses_a_pixel_s_width_counts_as_cropped(size, cut, tmp_path: Path) -> None:
    Image.new("RGB", size).save(tmp_path / "one.png")
    assert is_cropped(tmp_path / "one.png", 32) is cut


def test_resizing_is_antialiased() -> None:
    fine = np.indices((128, 128)).sum(0) % 2 * np.uint8(255)
    image = decode_photo(encoded(Image.fromarray(fine.astype(np.uint8))), 16)
    assert float((image - 0.5).abs().max()) < 0.03, "a fine checkerboard becomes grey"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_is_turned_upright_as_exif_says(orientation: int) -> None:
    upright = Image.fromarray(quarters())
    back = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    stored = upright if back is None else upright.transpose(back)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode_photo(encoded(stored, exif=exif))
    assert torch.equal(image, decode_photo(encoded(upright)))


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "RGB", "RGBA", "CMYK", "I;16", "F"])
def test_every_mode_of_a_grey_picture(mode: str) -> None:
    grey = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)
    kind = "png"
    if mode == "I;16":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode == "F":
        picture, kind = Image.fromarray(grey.astype(np.float32) / 255), "tiff"
    elif mode == "CMYK":
        picture, kind = Image.fromarray(grey).convert("RGB").convert("CMYK"), "tiff"
    else:
        picture = Image.fromarray(grey).convert(mode)
    image = decode_photo(encoded(picture, kind))
    assert image.shape == (3, 64, 64)
    tolerance = 0.51 if mode == "1" else 0.03 if mode == "P" else 1e-3
    if mode == "1":
        assert set(image.unique().tolist()) == {0.0, 1.0}
        assert abs(float(image.mean()) - 0.5) < 0.05
    else:
        assert torch.allclose(image, torch.from_numpy(grey) / 255, atol=tolerance)


def test_transparency_lies_on_white() -> None:
    array = np.zeros((4, 4, 4), np.uint8)
    array[0, 0] = (255, 0, 0, 255)
    array[1, 1] = (0, 0, 0, 128)
    image = decode_photo(encoded(Image.fromarray(array)))
    assert image[:, 0, 0].tolist() == [1, 0, 0]
    assert image[:, 3, 3].tolist() == [1, 1, 1]
    assert torch.allclose(image[:, 1, 1], torch.full((3,), 127 / 255), atol=0.005)


def test_transparent_palette() -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "L").convert("P")
    picture.putpalette([255, 0, 0, 0, 0, 255])
    image = decode_photo(encoded(picture, transparency=0))
    assert image[:, 0].T.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_bytes_there_and_back(tmp_path: Path) -> None:
    image = torch.from_numpy(quarters()).permute(2, 0, 1) / 255
    assert torch.equal(decode_photo(encode(image)), image)
    smooth = torch.linspace(0, 1, 64).expand(3, 64, 64)
    assert float((decode_photo(encode(smooth, "jpeg")) - smooth).abs().max()) < 0.05
    assert encode(smooth, "jpeg")[:2] == b"\xff\xd8"
    for name in ("a.png", "b.JPG"):
        assert torch.allclose(load_photo(save_photo(smooth, tmp_path / name)), smooth, atol=0.05)
    assert decode_photo(encode(torch.full((3, 2, 2), 1.7))).max() == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: b"",
        lambda d: b"no picture at all",
        lambda d: d[: len(d) // 2],
        lambda d: d[:45] + bytes([d[45] ^ 255]) + d[46:],
        lambda d: d[:20] + bytes([d[20] ^ 255]) + d[21:],
    ],
    ids=["empty", "text", "half", "data", "header"],
)
def test_a_broken_file_gets_a_sentence(damage, tmp_path: Path) -> None:
    data = damage(encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))))
    with pytest.raises(ValueError, match="uploaded file is not a picture that can be read.*whole"):
        decode_photo(data)
    (tmp_path / "p.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"p\.png is not a picture"):
        load_photo(tmp_path / "p.png")


def test_a_picture_too_large_to_be_honest() -> None:
    huge = encoded(Image.new("1", (20000, 20000)))
    with pytest.raises(ValueError, match="not a picture that can be read.*DecompressionBomb"):
        decode_photo(huge, 32)


def test_wrong_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no picture at nowhere\.jpg.*relative ones start at"):
        load_photo("nowhere.jpg")
    with pytest.raises(ValueError, match="size must be a whole number"):
        decode_photo(encoded(Image.new("RGB", (4, 4))), 0)
    with pytest.raises(ValueError, match=r"must end in \.png or \.jpg; got 'a\.bmp'"):
        save_photo(torch.zeros(3, 2, 2), tmp_path / "a.bmp")
    with pytest.raises(ValueError, match=r"shape \(3, H, W\); got \(1, 3, 2, 2\)"):
        encode(torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("207_golden.jpg", 207),
        ("001-goldfish.png", 1),
        ("2024_holiday.jpg", None),
        ("cat7_.jpg", None),
        ("7.jpg", None),
    ],
)
def test_labels_from_names(name: str, label: int | None) -> None:
    assert photo_label(name) == label


def test_the_photographs_of_the_wheels_need_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a photograph was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("LABKIT_PHOTOS", raising=False)
    photos = sample_photos(48)
    labels = {p.name: p.label for p in photos}
    assert labels["cat"] == 281
    assert labels["flower"] is None
    assert len(photos) >= 4
    for photo in photos:
        assert photo.image.shape == (3, 48, 48)
        assert photo.image.dtype == torch.float32
        assert 0 <= photo.image.min() < photo.image.max() <= 1


def test_photographs_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("340_zebra.png", "holiday.JPG"):
        Image.fromarray(quarters()).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    monkeypatch.setenv("LABKIT_PHOTOS", str(tmp_path))
    assert [(p.name, p.label) for p in sample_photos(8)] == [("340_zebra", 340), ("holiday", None)]
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (empty, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError, match=r"no picture in .*LABKIT_PHOTOS"):
            sample_photos(8, folder)
