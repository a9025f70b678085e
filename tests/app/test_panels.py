"""Pages of the concept labs: frames that tell right from wrong without colour, items to be rated."""

from __future__ import annotations

import json

import pytest
import torch

from labkit.app.panels import framed, rating_html


def test_a_frame_is_whole_where_it_is_right_and_broken_elsewhere() -> None:
    images = torch.full((2, 3, 48, 48), 0.5)
    found = framed(images, [True, False], width=3)
    assert (images == 0.5).all()
    assert (found[:, :, 10:-10, 10:-10] == 0.5).all()
    right, wrong = ((part != 0.5).any(0)[0] for part in found)
    assert right.all()
    assert 0 < wrong.float().mean() < 1


def test_the_rating_page_holds_its_items_and_no_key() -> None:
    page = rating_html("Do these share <one> thing?", [torch.rand(3, 8, 8), torch.rand(3, 8, 8)])
    assert "Do these share &lt;one&gt; thing?" in page
    items = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert len(items) == 2
    assert all(item.startswith("data:image/png;base64,") for item in items)
    assert "http" not in page
    assert "twin" not in page
    with pytest.raises(ValueError, match="at least one picture to rate"):
        rating_html("Well?", [])
