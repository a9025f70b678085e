"""The demo of attacks without the weights: who misreads what was made on whom, squares in the world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labkit.app.sheets import image_address, page_html

__all__ = ["WITHOUT", "transfer_data", "world_data"]

SCENES, PICTURES = 60, 5  # counted in the table; shown
VIEWS, LEARNED, STEPS = 10, 30, 60  # shown of each square; learned on
SQUARES = (("crate", "bus"), ("crate", "wolf"), ("T-shirt", "bus"))


def transfer_data(model: str, scenes: int = SCENES, pictures: int = PICTURES) -> dict[str, Any]:
    """The table, and for some pictures what every network says before and after each attack and control."""
    from labkit.data import CLASSES
    from labkit.evaluation import of_another, twin
    from labkit.experiments.attacks_without_the_weights import DISJOINT, made, random_sign, shown
    from labkit.experiments.bench import SEEDS, Bench, answers

    bench = Bench("full")
    seen = shown(bench, scenes, scenes)
    names = list(dict.fromkeys([model, *SEEDS, DISJOINT]))
    nets = {name: bench.network(name) for name in names}
    before = {name: answers(net, seen.images) for name, net in nets.items()}
    attacks = {name: made(bench, net, seen) for name, net in nets.items()}
    controls = {
        "another picture's": seen.images + of_another(attacks[model] - seen.images),
        "untrained twin": made(bench, twin(nets[model], seen.images), seen),
        "random sign": random_sign(seen.images),
    }
    rows, after = list[dict[str, Any]](), dict[str, dict[str, Any]]()
    for name, made_so in {**attacks, **{k: v.clamp(0, 1) for k, v in controls.items()}}.items():
        after[name] = {other: answers(net, made_so) for other, net in nets.items()}
        errors = []
        for other in names:
            right = before[other] == seen.labels
            errors.append(float((after[name][other] != seen.labels)[right].float().mean()))
        rows.append({"name": name, "control": name in controls, "errors": errors, "made": made_so})

    def words(answers: dict[str, Any], k: int) -> list[str]:
        return [CLASSES[int(answers[name][k])] for name in names]

    # pictures that all name rightly, and first those that another network than the attacked one misreads
    good = [k for k in range(len(seen.labels)) if all(before[n][k] == seen.labels[k] for n in names)]
    good.sort(key=lambda k: -sum(int(after[model][n][k] != seen.labels[k]) for n in names))
    shows = []
    for k in good[:pictures]:
        shows.append({
            "label": CLASSES[int(seen.labels[k])], "before": image_address(seen.images[k]),
            "said": words(before, k),
            "after": [
                {"picture": image_address(row["made"][k]), "said": words(after[row["name"]], k)}
                for row in rows
            ],
        })  # fmt: skip
    counts = [int((before[n] == seen.labels).sum()) for n in names]
    plain = [{key: row[key] for key in ("name", "control", "errors")} for row in rows]
    return {"targets": names, "rows": plain, "counts": counts, "pictures": shows}


def world_data(
    model: str, views: int = VIEWS, learned: int = LEARNED, steps: int = STEPS
) -> list[dict[str, Any]]:
    """Squares learned on the network, and cut out of a real object, filmed from new views."""
    import torch

    from labkit.adversarial import physical_patch
    from labkit.data import CLASSES, decal_views
    from labkit.experiments.printed_squares import cut_out, named, textures
    from labkit.models import load_model

    network, found = load_model(model), list[dict[str, Any]]()
    for kind, target in SQUARES:
        seen = decal_views(kind, learned, "train", without=("bus", "wolf"))
        unseen = decal_views(kind, views, "test", without=("bus", "wolf"))
        number = CLASSES.index(target)
        made = physical_patch(network, seen, number, steps=steps, batch=8)
        ways = {"learned": made, "photograph": cut_out(target, count=1)[0]}
        if not found:
            ways["random"] = textures(1)[0]
        area = 100 * float(unseen.area.mean())
        for way, square in ways.items():
            said = [CLASSES[int(k)] for k in named(network, unseen, [square])]
            with torch.no_grad():
                pictures = unseen(square, range(views))
            hits = sum(word == target for word in said)
            words = {
                "learned": f"A square learned to say {target}, on {learned} other views",
                "photograph": f"A photograph of a real {target} as the square",
                "random": "A random texture as the square",
            }[way]
            found.append({
                "name": f"{kind}, {target}: {way}", "target": target,
                "says": f"{words}: {model} says {target} in {hits} of {views} new views of the {kind}. "
                f"It fills {area:.0f} % of the picture.",
                "views": [
                    {"picture": image_address(p), "said": word}
                    for p, word in zip(pictures, said, strict=True)
                ],
            })  # fmt: skip
    return found


def _transfer(model: str = "minivgg") -> str:
    """Pictures made on one network, shown to others; controls; a square on a crate and on a T-shirt."""
    from labkit.app.demo_pictures import check_network

    check_network(model)
    data = {**transfer_data(model), "squares": world_data(model)}
    return page_html("transfer.html", "Whom does it fool, if the weights are secret?", data)


WITHOUT: dict[str, Callable[..., str]] = {"transfer": _transfer}
