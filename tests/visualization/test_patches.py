"""Top patches against brute force, wherever the pictures are; what is told of units that hardly fire."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock

from labkit import attribution
from labkit.concepts import top_pictures
from labkit.data import MiniBroden, load_photo
from labkit.data.photos import save_photo
from labkit.models import load_model, receptive_fields, record, unit
from labkit.visualization import guided_patches, top_patches, top_patches_result
from labkit.visualization.cropping import crops
from labkit.visualization.guided import guided_crops


def strided() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 5, 5, 2, 1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(5, 6, 3, 1, 2, dilation=2),
        nn.ReLU(),
    )


NETS = {
    "strided": (strided, "4", 32),
    "residual": (lambda: ResNet(BasicBlock, [1, 1, 1, 1], num_classes=2), "layer2", 64),
}


def made(name: str) -> tuple[nn.Module, str, Tensor]:
    make, layer, side = NETS[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = make().eval()
    return model, layer, torch.rand(11, 3, side, side, generator=torch.Generator().manual_seed(1))


def cut_by_hand(picture: Tensor, box: tuple[int, ...]) -> Tensor:
    """The box of a picture with a wide grey border."""
    wide = torch.nn.functional.pad(picture, (300,) * 4, value=0.5)
    top, left, bottom, right = (v + 300 for v in box)
    return wide[:, top:bottom, left:right]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("per_picture", [1, 2])
def test_they_are_those_of_brute_force(name: str, per_picture: int) -> None:
    model, layer, images = made(name)
    found = top_patches_result(model, images, layer, count=3, per_picture=per_picture, batch_size=4)
    patches = top_patches(model, images, layer, count=3, per_picture=per_picture, batch_size=5)
    with torch.no_grad(), record(model, layer) as kept:
        model(images)
    maps, field = kept[layer], receptive_fields(model, [layer], side=images.shape[-1])[layer]
    for k in range(maps.shape[1]):
        every = [
            (float(maps[n, k, r, c]), -n, -r, -c)
            for n in range(len(images)) for r in range(maps.shape[2]) for c in range(maps.shape[3])
        ]  # fmt: skip
        taken: dict[int, int] = {}
        best = []
        for value, n, r, c in sorted(every, reverse=True):
            if value > 0 and taken.get(n, 0) < per_picture and len(best) < 3:
                taken[n] = taken.get(n, 0) + 1
                best.append((value, -n, -r, -c))
        for at in range(3):
            if at >= len(best):
                assert (found.pictures[k, at], found.values[k, at]) == (-1, 0)
                assert (patches[k, at] == 0.5).all()
                continue
            value, n, r, c = best[at]
            assert float(found.values[k, at]) == pytest.approx(value, rel=1e-4)
            assert found.pictures[k, at] == n
            assert found.places[k, at].tolist() == [r, c]
            assert tuple(found.boxes[k, at].tolist()) == field.box(r, c, k)
            assert torch.equal(patches[k, at], cut_by_hand(images[n], field.box(r, c, k)))
        assert found.fired[k] == (maps[:, k].amax((1, 2)) > 0).sum()
    assert found.complete
    assert found.seen == 11


@pytest.mark.parametrize("name", NETS)
def test_the_guided_patch_is_guided_backpropagation_s_crop(name: str) -> None:
    model, layer, images = made(name)
    found = top_patches_result(model, images, layer, units=[1, 4], count=2)
    cut = guided_patches(model, images, layer, units=[1, 4], count=2)
    assert torch.equal(cut, guided_crops(model, images, found))
    for u, channel in enumerate((1, 4)):
        for k in range(2):
            n, place = int(found.pictures[u, k]), tuple(found.places[u, k].tolist())
            if n < 0:
                continue
            goal = unit(layer, channel, place)
            whole = attribution.guided_backprop_result(model, images[n : n + 1], goal).gradient[0]
            top, left, bottom, right = found.boxes[u, k].tolist()
            by_hand = torch.nn.functional.pad(whole, (300,) * 4)[
                :, top + 300 : bottom + 300, left + 300 : right + 300
            ]
            torch.testing.assert_close(cut[u, k], by_hand)
            # the box holds all that the unit sees
            assert float(whole.abs().sum()) == pytest.approx(float(cut[u, k].abs().sum()), rel=1e-4)


def test_pictures_may_be_bytes_on_the_disk_a_stack_or_a_folder(tmp_path: Path) -> None:
    stack = MiniBroden(6, "val").stack(cache=False)
    model, layer = load_model("minivgg"), "features.5"
    few = {"units": [3, 7], "count": 2, "batch_size": 4}
    as_tensor = top_patches(
        model, torch.from_numpy(stack.images).permute(0, 3, 1, 2).float() / 255, layer, **few
    )
    np.save(tmp_path / "pictures.npy", stack.images)
    on_disk = np.load(tmp_path / "pictures.npy", mmap_mode="r")
    assert torch.equal(top_patches(model, stack, layer, **few), as_tensor)
    assert torch.equal(top_patches(model, on_disk, layer, **few), as_tensor)
    (tmp_path / "photos" / "deeper").mkdir(parents=True)
    for number, picture in enumerate(as_tensor.new_tensor(stack.images / 255).permute(0, 3, 1, 2)):
        save_photo(picture, tmp_path / "photos" / ("deeper" if number % 2 else "") / f"{number}.png")
    files = sorted((tmp_path / "photos").rglob("*.png"))
    found = top_patches_result(model, tmp_path / "photos", layer, **few)
    photos = torch.stack([load_photo(path, 128) for path in files])
    torch.testing.assert_close(found.values, top_patches_result(model, photos, layer, **few).values)
    assert crops(model, str(tmp_path / "photos"), found).shape == as_tensor.shape


def test_an_empty_folder_and_a_broken_photograph_are_told(tmp_path: Path) -> None:
    model = load_model("minivgg-random")
    with pytest.raises(FileNotFoundError, match=r"no picture in .*\. Pass a folder with \.jpg"):
        top_patches(model, tmp_path, "features.5")
    (tmp_path / "torn.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"torn\.jpg is not a picture"):
        top_patches(model, tmp_path, "features.5")


def test_units_that_never_or_hardly_fire_are_told() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()).eval()
    with torch.no_grad():
        model[0].weight.zero_()
        model[0].weight[1:, 0] = 1.0
        model[0].bias.copy_(torch.tensor([-1.0, 0.0, -0.9]))
    images = torch.zeros(4, 3, 2, 2)
    images[:, 0] = torch.tensor([0.2, 0.95, 0.5, 0.1]).view(4, 1, 1)
    found = top_patches_result(model, images, "1", count=3)
    assert found.silent == [0]
    assert found.fired.tolist() == [0, 4, 1]
    assert found.pictures.tolist() == [[-1, -1, -1], [1, 2, 0], [1, -1, -1]]
    assert "1 never fire: 0" in str(found)
    patches = top_patches(model, images, "1", count=3, fill=0.25)
    assert (patches[0] == 0.25).all()
    assert (patches[2, 1:] == 0.25).all()
    assert torch.equal(guided_patches(model, images, "1", count=3)[0], torch.zeros(3, 3, 1, 1))


def test_stopped_and_told_how_far_it_is() -> None:
    model, layer, images = made("strided")
    shares: list[float] = []
    found = top_patches_result(
        model, images, layer, batch_size=2, progress=shares.append, should_stop=lambda: len(shares) == 2
    )
    assert (found.complete, found.seen) == (False, 4)
    assert shares == [2 / 11, 4 / 11]
    with pytest.raises(RuntimeError, match="before the first picture"):
        top_patches_result(model, images, layer, should_stop=lambda: True)


def test_refusals(tmp_path: Path) -> None:
    save_photo(torch.rand(3, 8, 8), tmp_path / "a.png")
    model, layer, images = made("strided")
    with pytest.raises(KeyError, match="layer must be a dotted name"):
        top_patches(model, images, "44")
    with pytest.raises(IndexError, match="units must be from 0 to 5; got 6. There are 6 units in the layer"):
        top_patches(model, images, layer, units=[6])
    with pytest.raises(ValueError, match="count must be a whole number"):
        top_patches(model, images, layer, count=0)
    with pytest.raises(ValueError, match="fill must be a number from 0 to 1"):
        top_patches(model, images, layer, fill=2)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 4)).eval()
    with pytest.raises(ValueError, match=r"layer must give a feature map .* before pooling and flattening"):
        top_patches(flat, images, "1")
    with pytest.raises(ValueError, match="side must be given"):
        top_patches(flat, tmp_path, "1")


def test_a_network_without_relus_has_no_guided_patches() -> None:
    model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.GELU()).eval()
    with pytest.raises(ValueError, match="bend its signal by ReLU"):
        guided_patches(model, torch.rand(2, 3, 8, 8), "1")


@pytest.mark.parametrize("ask", [top_patches, top_pictures])
def test_units_are_one_or_several_and_none_is_told(ask) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()).eval()
    pictures = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = ask(net, pictures, "1", units=[2], count=2)
    for one in (2, np.int64(2), torch.tensor(2), torch.tensor([2]), np.array([2]), range(2, 3)):
        assert torch.equal(ask(net, pictures, "1", units=one, count=2), wanted)
    with pytest.raises(ValueError, match="units must be at least one unit, or None for all; got an empty"):
        ask(net, pictures, "1", units=[])
    for wrong in (1.5, "2", [1.5]):
        with pytest.raises(TypeError, match="units must be None for all, a unit's number or several"):
            ask(net, pictures, "1", units=wrong)
