"""A decision tree as a figure: its first questions from the top, yes to the right, classes at the leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure

from labkit.core.checks import check_positive
from labkit.plots.figures import INK, blank

__all__ = ["show_tree"]

YES, NO, LEAF = "#3f9b5f", "#c0475a", "#4c8bd6"


def show_tree(tree: Any, questions: Sequence[str], classes: Sequence[str], *, depth: int = 3) -> Figure:
    """The first ``depth`` questions of scikit-learn's decision tree, and what it answers below them.

    ``questions``: a name for each column; ``classes``: a name for each of the tree's classes, in its order.
    A question reads "name, above number": yes goes to the right. Below the last row shown, and at a leaf,
    stands the class that most of the pictures there have, with their number. Raises ValueError for a list of
    names of another length and a tree that was not taught.

    >>> from sklearn.tree import DecisionTreeClassifier
    >>> tree = DecisionTreeClassifier().fit([[0.0], [1.0]], [0, 1])
    >>> [text.get_text() for text in show_tree(tree, ["red"], ["bus", "engine"]).axes[0].texts]
    ['red\\n> 0.5', 'no', 'bus\\n1', 'yes', 'engine\\n1']
    """
    check_positive("depth", depth)
    found = getattr(tree, "tree_", None)
    if found is None:
        raise ValueError("tree must be a decision tree that was taught; call its fit first.")
    for argument, names, count in (
        ("questions", questions, tree.n_features_in_), ("classes", classes, len(tree.classes_)),
    ):  # fmt: skip
        if len(names) != count:
            raise ValueError(f"{argument} must name {count}; got {len(names)}.")
    rows = min(depth, int(tree.get_depth()))
    figure = blank(max(5.0, 1.15 * 2**rows), 1.15 * rows + 1.0)
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(-rows - 0.45, 0.4)

    def box(x: float, y: float, text: str, colour: str) -> None:
        frame = {"boxstyle": "round,pad=0.35", "facecolor": "white", "edgecolor": colour, "linewidth": 1.4}
        axes.text(x, y, text, ha="center", va="center", fontsize=12, color="#1c2430", bbox=frame)

    def draw(node: int, x: float, width: float, row: int) -> None:
        low, high = int(found.children_left[node]), int(found.children_right[node])
        if low < 0 or row == rows:
            counts, taught = found.value[node][0], int(found.n_node_samples[node])
            box(x, -row, f"{classes[int(counts.argmax())]}\n{taught}", LEAF)
            return
        box(x, -row, f"{questions[int(found.feature[node])]}\n> {found.threshold[node]:.2g}", INK)
        for child, side, word, colour in ((low, -1, "no", NO), (high, 1, "yes", YES)):
            to = x + side * width / 4
            axes.plot([x, to], [-row - 0.17, -row - 0.8], color=colour, lw=1.6, zorder=0)
            aligned: Any = "left" if side > 0 else "right"
            middle = (x + to) / 2 + 0.012 * side
            axes.text(middle, -row - 0.46, word, fontsize=11, color=colour, ha=aligned)
            draw(child, to, width / 2, row + 1)

    draw(0, 0.5, 1.0, 0)
    return figure
