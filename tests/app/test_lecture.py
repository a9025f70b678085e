"""The lectures' index: demos have topics, what a topic names is there, pages beside it are linked."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from labkit.app.cli import app
from labkit.app.demos import DEMOS, NETWORKS
from labkit.app.lecture import index_html, stem_of
from labkit.app.slides import PARTS, SLIDES

ROOT = Path(__file__).resolve().parents[2]


def labkit(*words: str):
    return CliRunner().invoke(app, list(words))


def test_every_demo_has_a_topic_and_every_topic_s_demo_is_there() -> None:
    named = [slide.demo.partition(" --model ") for slide in SLIDES if slide.demo]
    assert {name for name, _, _ in named} == set(DEMOS)
    assert {model for _, _, model in named if model} <= set(NETWORKS)


def test_what_a_topic_names_is_there() -> None:
    for slide in SLIDES:
        assert not slide.notebook or (ROOT / "solutions" / f"{slide.notebook}.ipynb").is_file(), slide
        for name in slide.functions:
            module, _, function = name.rpartition(".")
            assert hasattr(importlib.import_module(f"labkit.{module}"), function), name


def test_topics_are_told_apart() -> None:
    topics = [slide.topic for slide in SLIDES]
    assert len(set(topics)) == len(topics) == sum(map(len, PARTS.values()))


def test_the_index_links_pages_that_lie_beside_it_and_says_how_the_others_are_made() -> None:
    page = index_html(["occlusion.html"])
    assert '<a href="occlusion.html">occlusion</a>' in page
    assert "<code>labkit demo sanity</code>" in page
    assert "sanity.html" not in page
    assert page.count("<small>none yet</small>") == sum(not slide.demo for slide in SLIDES)
    assert "http" not in page
    assert '<a href="compare-minivgg-tag.html">' in index_html([f"{stem_of('compare', 'minivgg-tag')}.html"])


def test_without_a_name_the_index_is_written_and_all_makes_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    for name in DEMOS:
        monkeypatch.setitem(
            DEMOS, name, lambda model, name=name: made.append((name, model)) or "<!doctype html>"
        )
    folder = tmp_path / "talk"
    assert labkit("demo", "--out", str(folder), "--no-browser").exit_code == 0
    assert [p.name for p in folder.iterdir()] == ["index.html"]
    assert "<a href" not in (folder / "index.html").read_text("utf-8")
    (folder / "occlusion.html").write_text("mine", "utf-8")
    result = labkit("demo", "--all", "--out", str(folder), "--no-browser")
    assert result.exit_code == 0
    assert "is there already" in result.output
    assert (folder / "occlusion.html").read_text("utf-8") == "mine"
    assert len(made) == len(set(made)) == len({slide.demo for slide in SLIDES if slide.demo}) - 1
    assert (
        "labkit demo " not in (folder / "index.html").read_text("utf-8").split("</h1>")[1].split("</p>", 1)[1]
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["demo", "--model", "minivgg-tag"], "labkit demo compare --model minivgg-tag"),
        (["demo", "masks", "--all"], "leave out the name 'masks'"),
    ],
)
def test_what_does_not_go_together_is_told(words: list[str], sentence: str) -> None:
    result = labkit(*words, "--no-browser")
    assert result.exit_code == 2
    assert sentence in result.output
