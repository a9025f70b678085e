"""Folders in Broden's layout and VOC's, made small here: what is read, and what is missing is told."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from labkit.concepts import dissect
from labkit.data import Broden, MiniBroden, label_table, load_voc, minibroden_table
from labkit.data.broden import VOC
from labkit.data.photos import load_codes

LABELS = {3: "sky", 7: "horse", 300: "leg", 12: "striped", 20: "street"}
CODES = {"object": [3, 7], "part": [300, 7], "texture": [12], "scene": [20]}


def table(path, columns, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def codes(path, values):
    """A label map as the releases have it: R + 256 G."""
    values = np.asarray(values)
    Image.fromarray(np.stack([values % 256, values // 256, 0 * values], 2).astype(np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    draw = np.random.default_rng(0)
    (tmp_path / "images" / "ade").mkdir(parents=True)
    for k in range(3):
        Image.fromarray(draw.integers(0, 256, (16, 16, 3)).astype(np.uint8)).save(
            tmp_path / f"images/ade/{k}.png"
        )
    objects = np.zeros((3, 8, 8), int)
    objects[0, :4], objects[0, 4:], objects[1, 2:5, 2:5] = 3, 7, 7
    for k in (0, 1):
        codes(tmp_path / f"images/ade/{k}_object.png", objects[k])
    legs = np.zeros((8, 8), int)
    legs[6:] = 300
    codes(tmp_path / "images/ade/0_part_1.png", legs)
    codes(tmp_path / "images/ade/0_part_2.png", np.full((8, 8), 7))
    plain = ["image", "split", "ih", "iw", "sh", "sw"]
    size = [16, 16, 8, 8]
    table(
        tmp_path / "index.csv", [*plain, "object", "part", "texture", "scene"],
        [
            ["ade/0.png", "train", *size, "ade/0_object.png", "ade/0_part_1.png;ade/0_part_2.png", "", "20"],
            ["ade/1.png", "train", *size, "ade/1_object.png", "", "", "20"],
            ["ade/2.png", "val", *size, "", "", "12", ""],
        ],
    )  # fmt: skip
    table(tmp_path / "category.csv", ["name", "first", "last"], [[kind, 0, 0] for kind in CODES])
    table(tmp_path / "label.csv", ["number", "name", "category"], [[n, w, ""] for n, w in LABELS.items()])
    for kind, numbers in CODES.items():
        table(tmp_path / f"c_{kind}.csv", ["code", "number", "name"],
              [[i + 1, n, LABELS[n]] for i, n in enumerate(numbers)])  # fmt: skip
    return tmp_path


def test_pictures_with_their_labels_are_read(folder) -> None:
    found = Broden(folder)
    assert repr(found).endswith("pictures=3, kinds=['object', 'part', 'texture', 'scene'])")
    assert found.splits == ["train", "train", "val"]
    assert found.names["part"] == ("leg", "horse")
    read = found.load(size=16)
    assert read.images.shape == (3, 16, 16, 3)
    assert np.array_equal(read.images[1], np.asarray(Image.open(folder / "images/ade/1.png")))
    assert (read.maps["object"][0, :4] == 1).all()
    assert (read.maps["object"][0, 4:] == 2).all()
    assert read.maps["object"][2].sum() == 0  # nothing is labelled there
    assert (read.maps["part"][0, 6:] == 1).all()  # label 300, beyond a byte
    assert (read.maps["part 2"][0] == 2).all()
    assert read.names["part 2"] == read.names["part"]
    assert (read.maps["scene"][:2] == 1).all()  # a number: the whole picture
    assert (read.maps["texture"][2] == 1).all()
    assert not read.maps["texture"][:2].any()


def test_shards_of_it_are_dissected(folder) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).eval()
    read = Broden(folder).load([1, 0], size=16, kinds=["object"])
    assert (read.maps["object"][1, :4] == 1).all()
    rows = dissect(net, read.images, layer="1", maps=read.maps, names=read.names, quantile=0.1)
    assert len(rows) == 4
    assert {kind for kind, *_ in rows} == {"object"}


def test_the_table_says_what_there_is(folder) -> None:
    read = Broden(folder).load(size=16)
    rows = {row.kind: row for row in label_table(read.maps, read.names, sources={"object": "ade"})}
    assert (rows["object"].classes, rows["object"].source, rows["object"].samples) == (2, "ade", 1.5)
    assert (rows["object"].level, rows["scene"].level) == ("pixel", "image")
    toy = {row.kind: row for row in minibroden_table(MiniBroden(12, "test").stack(cache=False))}
    assert list(toy) == ["scene", "object", "part", "material", "texture", "color"]
    assert [kind for kind, row in toy.items() if row.level == "image"] == ["scene"]
    assert sum(row.samples * row.classes for row in [toy["scene"]]) == 12
    with pytest.raises(ValueError, match="names must name the labels of 'object'"):
        label_table(read.maps, {})
    with pytest.raises(ValueError, match=r"must hold 0 \(none\) to 1, the labels that are named; got 2"):
        label_table({"object": read.maps["object"]}, {"object": ("sky",)})


@pytest.mark.parametrize("name", ["index.csv", "category.csv", "label.csv", "c_part.csv"])
def test_a_missing_table_is_told(folder, name) -> None:
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"folder must hold {name}"):
        Broden(folder)


def test_other_faults_of_a_folder_are_told(folder) -> None:
    (folder / "images/ade/1_object.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no label map at .*1_object\.png"):
        Broden(folder).load(size=16)
    codes(folder / "images/ade/1_object.png", np.full((4, 4), 7))
    with pytest.raises(ValueError, match=r"one size, 8 x 8 as index.csv says first; .* is 4 x 4"):
        Broden(folder).load(size=16)
    codes(folder / "images/ade/1_object.png", np.full((8, 8), 12))
    with pytest.raises(ValueError, match=r"c_object.csv must have every label of the maps; .* holds 12"):
        Broden(folder).load(size=16)
    (folder / "images/ade/1_object.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"is not a label map that can be read"):
        Broden(folder).load(size=16)
    (folder / "images/ade/0.png").unlink()
    with pytest.raises(FileNotFoundError, match="there is no picture at"):
        Broden(folder).load(size=16)
    for wrong, sentence in (({"rows": []}, "at least one picture"), ({"kinds": ["colour"]}, "kinds must")):
        with pytest.raises(ValueError, match=sentence):
            Broden(folder).load(**{"size": 16, **wrong})


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("index.csv", "image,split\na.png,train\n", "index.csv must have the columns .*; it lacks 'ih'"),
        ("category.csv", "name\ncolour\n", "index.csv must have a column for each category; it lacks"),
        ("c_part.csv", "code,number\n2,300\n", "c_part.csv must number its codes from 1 on"),
        ("c_part.csv", "code,number\n1,99\n", "label.csv must name the label 99 of c_part.csv"),
    ],
)
def test_tables_that_do_not_fit_are_told(folder, name, text, sentence) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        Broden(folder)


def test_pictures_that_are_not_square_are_told(folder) -> None:
    text = (folder / "index.csv").read_text().replace("16,16,8,8", "16,12,8,6", 1)
    (folder / "index.csv").write_text(text)
    with pytest.raises(ValueError, match="must be square, so that they are cut alike; ade/0.png is 16 x 12"):
        Broden(folder).load(size=16)


@pytest.fixture
def voc(tmp_path):
    base = tmp_path / "VOCdevkit" / "VOC2012"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (base / part).mkdir(parents=True)
    names = ["2007_1", "2007_2"]
    (base / "ImageSets/Segmentation/val.txt").write_text("\n".join(names))
    for k, name in enumerate(names):
        Image.new("RGB", (20, 10), (200, 30, 30)).save(base / f"JPEGImages/{name}.jpg")
        values = np.zeros((10, 20), np.uint8)
        values[:, 8:12], values[:, 12] = 13 - k, 255
        mask = Image.fromarray(values, "P")
        mask.putpalette([v for i in range(256) for v in (i, 255 - i, 7)])
        mask.save(base / f"SegmentationClass/{name}.png")
    return tmp_path


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
def test_voc_is_read_where_it_was_downloaded(voc, tmp_path_factory) -> None:
    read = load_voc(voc, size=10)
    assert read.images.shape == (2, 10, 10, 3)
    assert VOC[13 - 1] == "horse"
    assert (read.maps["object"][0, :, 3:7] == 13).all()
    assert not read.maps["object"][0, :, 7].any()  # the border between objects is no label
    assert (read.maps["object"][1, :, 3:7] == 12).all()
    assert len(load_voc(voc, size=10, n=1).images) == 1
    with pytest.raises(FileNotFoundError, match="root must hold VOCdevkit/VOC2012.*download=True"):
        load_voc(tmp_path_factory.mktemp("empty"), size=10)
    with pytest.raises(ValueError, match="n must be at least 1"):
        load_voc(voc, size=10, n=0)


def test_codes_of_every_kind_of_file(tmp_path) -> None:
    values = np.array([[0, 1], [300, 70]])
    codes(tmp_path / "colour.png", values)
    assert np.array_equal(load_codes(tmp_path / "colour.png"), values)
    Image.fromarray((values % 256).astype(np.uint8)).save(tmp_path / "grey.png")
    assert np.array_equal(load_codes(tmp_path / "grey.png"), values % 256)
    assert torch.is_tensor(torch.from_numpy(load_codes(tmp_path / "grey.png", 4)))
    assert load_codes(tmp_path / "grey.png", 4).tolist()[0] == [0, 0, 1, 1]
