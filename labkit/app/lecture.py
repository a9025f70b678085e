"""The command ``labkit demo``: one demo as a page, all of them, or the index of the lectures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo", "index_html", "stem_of"]


def stem_of(name: str, model: str) -> str:
    """The file name of a demo's page, without ``.html``: one a network.

    >>> stem_of("compare", "minivgg-tag")
    'compare-minivgg-tag'
    """
    return name if model == "minivgg" else f"{name}-{model}"


def index_html(there: Iterable[str]) -> str:
    """The lectures' topics as a page; ``there``: the file names of the demos that lie beside it, as links.

    What is not there shows the command that makes it; a topic without a demo is grey.
    """
    import jinja2

    from labkit.app.slides import PARTS, SLIDES

    text = Path(__file__).with_name("lecture.html").read_text("utf-8")
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
    live = sum(bool(slide.demo) for slide in SLIDES)
    return template.render(parts=PARTS, there=set(there), live=live, count=len(SLIDES))


def _write(page: Path, name: str, model: str, photos: Path | None = None) -> None:
    from labkit.app.demos import DEMOS, NETWORKS
    from labkit.core.files import write_whole

    page.parent.mkdir(parents=True, exist_ok=True)
    large = photos is not None or model not in NETWORKS
    title, time = (
        name if model == "minivgg" else f"{name} on {model}",
        "some minutes" if large else "about a minute",
    )
    typer.echo(f"{title}: computing all the answers, {time} on two free cores ...", err=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        text = DEMOS[name](model) if photos is None else DEMOS[name](model, photos=photos)
    write_whole(page, text)
    for one in told:
        typer.echo(str(one.message), err=True)
    typer.echo(f"wrote {page} ({page.stat().st_size / 2**20:.1f} MB)")


def _open(page: Path) -> None:
    import webbrowser

    if not webbrowser.open(page.as_uri()):
        typer.echo(f"No browser was found here; open {page.as_uri()} in one.", err=True)


def _index(folder: Path, make_all: bool) -> Path:
    """Write the index into a folder, and first, if asked, every page that it names."""
    from labkit.app.slides import SLIDES
    from labkit.core.files import write_whole

    wanted = dict.fromkeys(slide.demo for slide in SLIDES if slide.demo)
    for demo in wanted if make_all else ():
        name, _, model = demo.partition(" --model ")
        page = folder / f"{stem_of(name, model or 'minivgg')}.html"
        if page.exists():
            typer.echo(f"{page} is there already; delete it to make it anew.")
        else:
            _write(page, name, model or "minivgg")
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / "index.html"
    write_whole(page, index_html(path.name for path in folder.glob("*.html")))
    typer.echo(f"wrote {page}")
    return page


def demo(
    name: Annotated[str, typer.Argument(help="Which demo (see --list); none: the lectures' index.")] = "",
    model: Annotated[str, typer.Option(help="The network, perhaps one that is wrong.")] = "minivgg",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The page [NAME.html], or the index's folder [demos]."),
    ] = None,
    make_all: Annotated[bool, typer.Option("--all", help="Make every page of the index, too.")] = False,
    photos: Annotated[
        Path | None,
        typer.Option(help="A folder of photographs instead of scenes, where no planted truth is needed."),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only write the page.")] = False,
    only_list: Annotated[bool, typer.Option("--list", help="List demos and networks, and stop.")] = False,
) -> None:
    """Write a lecture demo as one page that needs no kernel and no network, and open it; without a name, the
    index of the lectures, topic by topic."""
    from labkit.app.demos import DEMOS, NETWORKS, check_network

    if only_list:
        for known, make in DEMOS.items():
            typer.echo(f"{known:<12} {(make.__doc__ or '').strip()}")
        typer.echo(f"{'--model':<12} {', '.join(NETWORKS)}")
        return
    if not name:
        if model != "minivgg":
            raise ValueError(f"--model goes with a demo, as in labkit demo compare --model {model}.")
        page = _index((out or Path("demos")).expanduser().absolute(), make_all)
    else:
        from labkit.app.demos import OF_PHOTOGRAPHS
        from labkit.core.checks import check_choice
        from labkit.data.photos import photo_files
        from labkit.models import bundled_models, list_models

        check_choice("NAME", name, DEMOS)
        if name in OF_PHOTOGRAPHS and (photos is not None or model not in bundled_models()):
            check_choice("--model", model, list_models())
            if photos is not None:
                photo_files(photos, "Pass a folder with pictures as --photos.")
        elif photos is not None:
            raise ValueError(f"--photos goes with {', '.join(OF_PHOTOGRAPHS)}; {name} needs planted truth.")
        else:
            check_network(model, name in OF_PHOTOGRAPHS)
        if make_all:
            raise ValueError(f"--all makes every page; leave out the name {name!r}, or leave out --all.")
        page = (out or Path(f"{stem_of(name, model)}.html")).expanduser().absolute()
        _write(page, name, model, photos)
    if not no_browser:
        _open(page)
