"""What do the units know? Concepts as directions of a layer, and units held against label maps."""

from labkit.concepts.concept_tests import PairedCav, Tcav, paired_cav, paired_cav_result, tcav, tcav_result
from labkit.concepts.concept_vectors import Cav, cav, cav_result, directional_derivatives, sort_by_cav
from labkit.concepts.dissection import Counts, Dissection, dissect, dissect_result
from labkit.concepts.distillation import Distilled, concept_shares, distill, distill_result
from labkit.concepts.overlay import similarity_map
from labkit.core.registry import Method

METHODS: dict[str, Method] = {
    "cav": Method(
        cav,
        "Concept activation vectors",
        "Kim et al. 2018",
        takes=("concept", "others"),
        gives="weights",
        dead="any",
        scope="global",
    ),
    "concept_shares": Method(
        concept_shares,
        "Distillation",
        "",
        takes=("maps", "count"),
        gives="points",
        dead="any",
        models="agnostic",
    ),
    "directional_derivatives": Method(
        directional_derivatives,
        "Concept activation vectors",
        "Kim et al. 2018",
        takes=("model", "pictures", "target", "layer", "vector"),
        gives="scores",
        dead="any",
    ),
    "distill": Method(
        distill,
        "Distillation",
        "Craven and Shavlik 1996",
        takes=("rows", "answers"),
        gives="number",
        dead="any",
        models="agnostic",
        scope="global",
    ),
    "dissect": Method(
        dissect,
        "Network dissection",
        "Bau et al. 2017",
        takes=("model", "pictures", "layer", "maps", "names"),
        gives="rows",
        dead="any",
        scope="global",
    ),
    "paired_cav": Method(
        paired_cav,
        "TCAV",
        "",
        takes=("model", "pictures", "target", "layer", "present", "absent"),
        gives="weights",
        dead="any",
        scope="global",
    ),
    "similarity_map": Method(
        similarity_map,
        "Similarity overlays",
        "Fong and Vedaldi 2018",
        {"picture": 0, "place": (0, 0), "upsample": "bilinear"},
        takes=("model", "many", "layer"),
        dead="any",
    ),
    "sort_by_cav": Method(
        sort_by_cav,
        "Concept activation vectors",
        "Kim et al. 2018",
        takes=("model", "pictures", "layer", "vector"),
        gives="rows",
        dead="any",
    ),
    "tcav": Method(
        tcav,
        "TCAV",
        "Kim et al. 2018",
        {"random_concepts": 2, "draws": 2},
        takes=("model", "pictures", "target", "layer", "concept", "others"),
        gives="number",
        dead="any",
        scope="global",
    ),
}

__all__ = [
    "METHODS",
    "Cav",
    "Counts",
    "Dissection",
    "Distilled",
    "PairedCav",
    "Tcav",
    "cav",
    "cav_result",
    "concept_shares",
    "directional_derivatives",
    "dissect",
    "dissect_result",
    "distill",
    "distill_result",
    "paired_cav",
    "paired_cav_result",
    "similarity_map",
    "sort_by_cav",
    "tcav",
    "tcav_result",
]
