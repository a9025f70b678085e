"""Facets: clusters by hand, two planted reasons found apart, starts that are means, what is refused."""

from __future__ import annotations

import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

from labkit.models import unit
from labkit.visualization import multifaceted, multifaceted_result
from labkit.visualization.facets import k_means

PLAIN = {"space": "pixels", "colours": None, "jitter": 0, "scale": 0.0, "rotation": 0.0}


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs() -> Tensor:
    middles = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    sizes = torch.tensor([0] * 6 + [1] * 10 + [2] * 4)
    return middles[sizes] + torch.randn(20, 2, generator=draw())


def test_k_means_finds_blobs_the_largest_first() -> None:
    points = blobs()
    found = k_means(points, 3)
    assert found.labels.tolist() == [1] * 6 + [0] * 10 + [2] * 4
    for k in range(3):
        assert torch.allclose(found.centres[k], points[found.labels == k].mean(0), atol=1e-5)
    spread = sum(float(((points[found.labels == k] - found.centres[k]) ** 2).sum()) for k in range(3))
    assert found.spread == pytest.approx(spread, rel=1e-5)
    assert k_means(points, 20).spread == pytest.approx(0, abs=1e-9)
    assert torch.equal(k_means(points, 1).centres[0], points.double().mean(0).float())


class TwoReasons(nn.Module):
    """A unit that fires for red at the left or for blue at the right; ``codes`` tells the two apart."""

    def __init__(self) -> None:
        super().__init__()
        self.codes = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[3] // 2
        reasons = torch.stack([x[:, 0, :, :half].mean((1, 2)), x[:, 2, :, half:].mean((1, 2))], 1)
        return self.codes(torch.relu(reasons - 0.2)).amax(1, keepdim=True)


def bank() -> Tensor:
    pictures = 0.3 + 0.05 * torch.rand(30, 3, 8, 8, generator=draw(1))
    pictures[:10, 0, :, :4] += 0.4
    pictures[10:16, 2, :, 4:] += 0.4
    return pictures[torch.randperm(30, generator=draw(2))]


def test_each_facet_is_one_reason() -> None:
    net, pictures = TwoReasons().eval(), bank()
    found = multifaceted_result(
        net, 0, pictures, layer="codes", facets=2, top=16, nearest=20, steps=6, **PLAIN
    )
    red = pictures[found.top, 0, :, :4].mean((1, 2)) > 0.5
    assert torch.equal(found.labels, (~red).long())
    assert torch.allclose(found.starts[0], pictures[found.top[red]].mean(0))
    assert torch.allclose(found.starts[1], pictures[found.top[~red]].mean(0))
    grown = found.images - found.starts
    assert grown[0, 0, :, :4].min() > 0.05
    assert grown[0, 2].abs().max() < 1e-6
    assert grown[1, 2, :, 4:].min() > 0.05
    assert found.found.score.min() > net(found.starts).min()


def test_the_points_are_the_principal_components() -> None:
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    pictures = torch.rand(12, 3, 8, 8, generator=draw())
    found = multifaceted_result(net, 1, pictures, layer="1", facets=2, components=3, steps=1)
    with torch.no_grad():
        codes = net(pictures[found.top])
    wanted = torch.from_numpy(PCA(3).fit_transform(codes.double().numpy())).float()
    signs = (wanted * found.points).sum(0).sign()
    assert torch.allclose(found.points, wanted * signs, atol=1e-5)


def test_nearest_pictures_alone_make_the_start_and_bytes_will_do() -> None:
    net, pictures = TwoReasons().eval(), bank()
    levels = (pictures * 255).round().byte().permute(0, 2, 3, 1).numpy()
    one = multifaceted_result(net, 0, levels, layer="codes", facets=2, top=16, nearest=1, steps=1, **PLAIN)
    shown = torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
    for start in one.starts:
        assert (start - shown).abs().flatten(1).sum(1).min() < 1e-5


def test_t_sne_tells_the_reasons_apart_too() -> None:
    net, pictures = TwoReasons().eval(), bank()
    found = multifaceted_result(
        net, 0, pictures, layer="codes", facets=2, top=16, embed="tsne", steps=1, **PLAIN
    )
    red = pictures[found.top, 0, :, :4].mean((1, 2)) > 0.5
    assert found.points.shape == (16, 2)
    assert torch.equal(found.labels, (~red).long())


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"facets": 0}, ValueError, "facets must be"),
        ({"facets": 31}, ValueError, "pictures must be at least as many as facets, 31; got 30"),
        ({"facets": 20, "top": 10}, ValueError, "number of different points, 10; got 20"),
        ({"top": 0}, ValueError, "top must be"),
        ({"nearest": 0}, ValueError, "nearest must be"),
        ({"embed": "umap"}, ValueError, "embed must be one of 'pca', 'tsne'"),
        ({"embed": "tsne", "top": 5}, ValueError, 'embed="tsne" needs at least 8 pictures; got 5'),
        ({"layer": "code"}, KeyError, "nearest are 'codes'"),
        ({"target": torch.tensor([0, 0])}, TypeError, "one target for all pictures"),
        ({"target": 4}, IndexError, "got 4"),
        ({"target": unit("codes", 9)}, IndexError, "channel must be"),
        ({"pictures": [1]}, TypeError, "pictures must be a tensor or an array"),
        ({"pictures": torch.rand(3, 8, 8)}, ValueError, r"shape \(N, H, W, C\)"),
        ({"blurry": 1}, TypeError, "blurry"),
    ],
)
def test_bad_arguments_are_refused(options: dict, error: type, sentence: str) -> None:
    given = {"target": 0, "pictures": bank(), "layer": "codes", "facets": 2, "steps": 1} | options
    with pytest.raises(error, match=sentence):
        multifaceted(TwoReasons().eval(), given.pop("target"), given.pop("pictures"), **given)


def test_pictures_alike_have_no_facets() -> None:
    with pytest.raises(ValueError, match="number of different points, 1; got 2"):
        multifaceted(TwoReasons().eval(), 0, torch.full((9, 3, 8, 8), 0.5), layer="codes", facets=2, steps=1)
