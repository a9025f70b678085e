"""A tree as a figure: its questions from the top, the classes where it ends."""

import pytest
import torch
from sklearn.tree import DecisionTreeClassifier

from labkit.plots import show_tree


def words(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_it_shows_the_questions_that_were_asked_and_what_follows():
    rows = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)).numpy()
    answers = (rows[:, 1] > 0.5).astype(int) + 2 * ((rows[:, 1] > 0.5) & (rows[:, 2] > 0.5))
    tree = DecisionTreeClassifier(max_depth=3, random_state=0).fit(rows, answers)
    names = ["red", "wheel", "snow"]
    shown = words(show_tree(tree, names, ["bus", "car", "wolf"]))
    assert shown[0].startswith("wheel\n> 0.")
    assert any(text.startswith("snow\n> 0.") for text in shown)
    counts = {
        text.split("\n")[0]: int(text.split("\n")[1]) for text in shown if "\n" in text and ">" not in text
    }
    assert sum(counts.values()) == 200
    assert counts["bus"] == int((answers == 0).sum())
    short = words(show_tree(tree, names, ["bus", "car", "wolf"], depth=1))
    assert [t for t in short if ">" in t] == shown[:1]


def test_what_cannot_be_drawn_gets_a_sentence():
    tree = DecisionTreeClassifier()
    with pytest.raises(ValueError, match="tree must be a decision tree that was taught"):
        show_tree(tree, ["a"], ["x", "y"])
    tree.fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(ValueError, match="questions must name 1; got 2"):
        show_tree(tree, ["a", "b"], ["x", "y"])
    with pytest.raises(ValueError, match="classes must name 2; got 1"):
        show_tree(tree, ["a"], ["x"])
