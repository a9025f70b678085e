"""The scoreboard's rows: what a row holds and is asked, and how rows are kept and found stale."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from labkit.core.files import write_whole
from labkit.core.statistics import Interval
from labkit.ledger.staleness import Rests, checkout, stale_because

__all__ = [
    "BUNDLED",
    "LOW_IS_GOOD",
    "MEASURES",
    "METRICS",
    "OPTIONS",
    "SCENES",
    "Row",
    "keep",
    "kept_rows",
    "rows_in",
]

METRICS: dict[str, str] = {
    "pointing": "share of maps whose peak lies on the cause, within 7% of the side",
    "off-centre": "the same where the cause does not cover the picture's centre",
    "energy": "share of the map's positive part on the cause, over the cause's share of the picture",
    "box": "share of boxes around the map's strongest part with an IoU of at least .5 with the cause's box; "
    "cut off at the share of the maximum that is best on the other half of the scenes",
    "deletion": "probability while pixels are blurred in the map's order: mean over the way, low is good",
    "insertion": "probability while they come back in that order: mean over the way, high is good",
    "shift": "how much less of the map's positive part, in percent of it, lies on the animal than for an "
    "honest network; of three such (minivgg, minivgg-2, minivgg-3) the one that differs least, so that "
    "another seed does not pass for the fault; 0 for a map that has not seen the network",
    "thaw": "probability while pixels turn into those of the same scene on grass, in the map's order: mean "
    "over the way, low is good (in place of deletion: blurred snow is still snow)",
    "snowfall": "probability while they turn back in that order: mean over the way, high is good",
    "gap": "snowfall less thaw: a fine mixture of snow and grass lowers both, whatever the map knows of the "
    "snow; here it cancels, and chance is near 0",
}
# The mark never covers the centre. On snow no place is the cause alone: no map can point at it or box it,
# and blurring all but the wolf leaves the network as sure as it was.
MEASURES: dict[str, tuple[str, ...]] = {
    "clean": ("pointing", "off-centre", "energy", "box", "deletion", "insertion"),
    "tag": ("pointing", "energy", "box", "deletion", "insertion"),
    "snow": ("shift", "thaw", "snowfall", "gap"),
}
SCENES = {"clean": 100, "tag": 30, "snow": 12}  # if no other number is asked; snow takes four maps each
LOW_IS_GOOD = {"deletion", "thaw"}

# Options where a method's defaults would take more than some two seconds a picture on one core.
OPTIONS: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 24, "stride": 8},
    "rise": {"masks": 500},
    "lime": {"samples": 256},
    "kernel_shap": {"samples": 256},
    "extremal_perturbation": {"area": (0.1, 0.3)},
    "meaningful_perturbation": {"steps": 100},
    "integrated_gradients": {"steps": 64, "tolerance": 10.0},
    "deep_shap": {"baselines": "grey"},
}


@dataclass(frozen=True)
class Row:
    """One method in one world: measure -> value with its interval, and the seconds a picture took.

    ``values`` holds the measures of the world, ``MEASURES[world]``. A method that does not go with the
    network has None for all of them and for ``seconds``, and its own sentence in ``refused``. ``rests`` is
    what the row rests on (see `labkit.ledger.staleness`), ``stale`` why it does not stand any more: told in a
    checkout, and empty for a row that does, or was measured just now.
    """

    world: str
    method: str
    values: Mapping[str, Interval | None]
    seconds: float | None
    scenes: int
    options: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    date: str = ""
    rests: Rests | None = None
    stale: tuple[str, ...] = ()


BUNDLED = Path(__file__).with_name("scoreboard.jsonl")


def kept_rows() -> Path:
    """Where rows are kept unless another place is named: a file in the cache folder."""
    from labkit.data.cache import cache_folder

    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "scoreboard.jsonl"


def keep(path: Path, row: Row) -> None:
    """Write a row into a file, in place of one of the same method, world and number of scenes."""
    rows = {(r.world, r.method, r.scenes): r for r in (*rows_in(path, judged=False), row)}
    lines = [{k: v for k, v in asdict(r).items() if k != "stale"} for r in rows.values()]
    write_whole(path, "".join(json.dumps(line) + "\n" for line in lines))


def rows_in(kept: Path | None, judged: bool = True) -> list[Row]:
    """The rows of a file, each with what makes it stale; lines that are no rows of today's are passed."""
    rows = []
    for line in kept.read_text("utf-8").splitlines() if kept is not None and kept.exists() else ():
        try:
            raw = json.loads(line)
            raw["values"] = {k: None if v is None else Interval(*v) for k, v in raw["values"].items()}
            row = Row(**raw)
        except (json.JSONDecodeError, TypeError):  # cut off in the writing, or of an older kit
            continue
        if set(row.values) == set(MEASURES.get(row.world, ())):
            rows.append(replace(row, stale=tuple(_reasons(row)) if judged and checkout() else ()))
    return rows


def _reasons(row: Row) -> list[str]:
    """Why a row is stale."""
    found = ["it was not kept what it rests on"] if row.rests is None else stale_because(row.rests)
    if row.options != json.loads(json.dumps(OPTIONS.get(row.method, {}))):
        found.append("it is asked with other options now")
    return found
