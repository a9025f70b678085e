"""What ``claim`` shows: an experiment's numbers beside their controls, as lines, in a notebook as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from labkit.app.numbers import in_full, kept_number
from labkit.core.statistics import Interval
from labkit.experiments.measures import Measure, Result, verdict_of

if TYPE_CHECKING:
    from labkit.ledger.claims import Number

__all__ = ["ClaimTable"]

BLIND = verdict_of(holds=True, stands=False)
HUES = {"holds": "#1c8a4a", BLIND: "#b26a00", "does not hold": "#d0302a"}
PAGE = """\
{% set left, right = "text-align: left", "text-align: right; white-space: nowrap" %}
<table style="max-width: 68em">
<tr><th style="{{ left }}">{{ id }}{% if whole %}: {{ whole }}{% endif %}</th>
<th style="{{ right }}">{{ here }}</th>
{% if full %}<th style="{{ right }}">in full</th>{% endif %}
<th style="{{ left }}">fixed beforehand</th></tr>
{% for row in rows %}
<tr><td style="{{ left }}{{ '' if row.verdict else '; padding-left: 3em' }}">
{% if row.verdict %}
<b style="color: color-mix(in srgb, {{ row.hue }} 75%, currentColor)">{{ row.verdict }}</b><br>
<b>{{ row.what }}</b>
{% else %}beside it: {{ row.what }}
{% endif %}</td>
<td style="{{ right }}">{{ row.here }}</td>
{% if full %}<td style="{{ right }}">{{ row.full }}
{% if row.turned %}<br><b>{{ row.turned }}</b>{% endif %}</td>{% endif %}
<td style="{{ left }}; white-space: nowrap">{{ row.wanted }}</td></tr>
{% endfor %}
</table>
{% for note in notes %}<p>{{ note }}</p>
{% endfor %}"""


@lru_cache(maxsize=1)
def _page() -> Any:
    import jinja2

    return jinja2.Environment(autoescape=True, trim_blocks=True).from_string(PAGE)


class ClaimTable:
    """A result as `claim` shows it: plain text, with an HTML form for notebooks.

    ``mode``: the size that it was measured in; where that is not "full", the ledger's numbers stand beside.
    ``red``: the exercises that it ran whose last check is not passed.
    """

    def __init__(self, result: Result, mode: str, red: Sequence[str] = ()) -> None:
        self.result, self.mode = result, mode
        notes = [f"(measured with your own code, and a check is not passed: {', '.join(red)})"] if red else []
        self.notes = [*result.notes, *notes]

    def verdict(self, measure: Measure) -> str:
        """That of the measure; in quick mode none."""
        return "not judged (quick mode)" if self.mode == "quick" else measure.verdict

    def __str__(self) -> str:
        lines = []
        for measure in self.result.measures:
            found = f"{measure.value} {measure.unit}".rstrip()
            lines.append(f"{self.result.id} {self.verdict(measure)}: {measure.what} = {found}")
            lines[-1] += f", wanted {measure.threshold}"
            if self.mode != "full" and (full := in_full(self.result.id, measure.what)):
                lines.append(f"   {full}")
            for name, value in measure.control.items():
                wanted = f", wanted {measure.must[name]}" if name in measure.must else ""
                lines.append(f"   beside it, {name}: {value}{wanted}")
        return "\n".join([*lines, *(f"   {note}" for note in self.notes)])

    __repr__ = __str__

    def _rows(self, kept: Sequence[Number | None]) -> Iterator[dict[str, str]]:
        for measure, full in zip(self.result.measures, kept, strict=True):
            verdict = self.verdict(measure)
            other = "" if full is None else verdict_of(full.holds, full.stands)
            yield {
                "verdict": verdict, "hue": HUES.get(verdict, "currentColor"), "what": measure.what,
                "here": f"{measure.value} {measure.unit}".rstrip(), "full": "" if full is None else str(full),
                "turned": "" if other == verdict else other, "wanted": measure.threshold,
            }  # fmt: skip
            for name, value in measure.control.items():
                known = {} if full is None else full.control
                yield {
                    "what": name, "here": str(value), "wanted": measure.must.get(name, ""),
                    "full": str(Interval(*known[name])) if name in known else "",
                }  # fmt: skip

    def _repr_html_(self) -> str:
        from labkit.ledger.claims import reasons

        found = [kept_number(self.result.id, measure.what) for measure in self.result.measures]
        entry = None if self.mode == "full" else next((each[0] for each in found if each), None)
        numbers = [each[1] if each and entry else None for each in found]
        rows = list(self._rows(numbers))
        old = ", stale" if entry and reasons(entry) else ""
        told = [
            "Brackets are intervals of 95 %; a lower or upper bound is an end of these.",
            *([f"In full: measured on {entry.date}{old} (labkit claims {self.result.id})."] if entry else []),
        ]
        if any(row.get("verdict") == BLIND or row.get("turned") == BLIND for row in rows):
            told.insert(
                0,
                f'"{BLIND[0].upper()}{BLIND[1:]}": the threshold is reached, but something blind is as '
                "good, or a control does not show what it must; so the number proves nothing.",
            )
        several = len(self.result.measures) > 1 and self.mode != "quick"
        whole = self.result.verdict if several else ""
        here = {"quick": "here, few scenes", "class": "here, in class size", "full": "here, in full"}
        return _page().render(
            id=self.result.id, whole=whole, here=here[self.mode], full=bool(entry),
            rows=rows, notes=[*self.notes, *told],
        )  # fmt: skip
