"""What `check` says in a notebook: a tick and a word per case, what differs first, the hint that fits."""

import dataclasses
import threading

import pytest
import torch
from demo import EXERCISES, GRADIENT, SCALE

from labkit.calls.call import perform, realize
from labkit.calls.exercise import Case
from labkit.calls.form import drawn, hidden
from labkit.checking.audit import audit
from labkit.checking.check import CheckText, run_public
from labkit.checking.judge import Judge
from labkit.grading import check


def said(exercise, function):
    return str(CheckText(run_public(exercise, function)))


def test_the_right_function_gets_its_points_as_a_float(capsys):
    points = check(SCALE, SCALE.reference)
    assert points == 4.0
    assert isinstance(points, float)
    assert repr(points) == "4.0", "nbgrader reads it"
    assert points._repr_html_() == "<span></span>", "a notebook does not show it"
    out = capsys.readouterr()
    assert "✓ right       two rows" in out.out
    assert out.out.endswith("public checks 2/2; hidden checks run at grading\n")
    assert out.err == ""


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda e: e.id)
def test_each_misconception_gets_its_own_hint(exercise):
    for misconception in exercise.misconceptions:
        result = run_public(exercise, misconception.function)
        assert result.hint == misconception.hint
        assert result.points < exercise.points


def test_a_stub_is_not_written_yet_and_scores_zero(capsys):
    def scale_add(x, factor):
        raise NotImplementedError()

    assert check(SCALE, scale_add) == 0.0
    assert "✗ missing     two rows\n    not written yet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "word", "words"),
    [
        (lambda x, factor: (x * factor + 1).round().int(), "dtype", "holds int32, float64 is asked for"),
        (
            lambda x, factor: (x * factor + 1).T,
            "shape",
            "the shape (3, 2), (2, 3) is asked for; the axes are in",
        ),
        (lambda x, factor: (x * factor + 1).sum(0), "shape", "one axis has been reduced that should stay"),
        (lambda x, factor: (x * factor + 1)[None], "shape", "an axis of length 1 is too many or missing"),
        (lambda x, factor: -(x * factor + 1), "sign", "every value has the opposite sign"),
        (lambda x, factor: (x * factor + 1) * 3, "scale", "one constant factor: all values are too large"),
        (lambda x, factor: x * factor + 2, "values", "right up to one constant that is added everywhere"),
        (lambda x, factor: x / 0 * 0, "values", "6 of 6 values are NaN"),
        (
            lambda x, factor: (x * factor + 1).numpy(),
            "type",
            "is a NumPy array, a tensor is asked for; stay in torch",
        ),
        (lambda x, factor: 3.0, "type", "the result is a number, a tensor is asked for"),
        (lambda x, factor: None, "error", "the function returned None"),
        (lambda x: x, "error", "TypeError"),
    ],
)
def test_what_differs_first_is_named(wrong, word, words):
    text = said(SCALE, wrong)
    assert f"✗ {word}" in text
    assert words in text


def test_public_cases_show_what_came_and_what_was_expected_and_hidden_ones_never():
    one = torch.ones(1, dtype=torch.float64)
    scalar = dataclasses.replace(
        SCALE,
        public=lambda: [Case("a number", (one * 7, 5.0))],
        hidden=lambda seed: [Case("another", (one * 9, 5.0))],
    )
    for wrong in (lambda x, f: -(x * f + 1), lambda x, f: 2 * (x * f + 1), lambda x, f: x * 0):
        text = said(scalar, wrong)
        assert "the value is not right" in text
        assert f"at [0] came {float(wrong(one * 7, 5.0)):g}, expected 36" in text
        judge = Judge(scalar, 3)
        calls = [perform(wrong, realize(case.args), {}) for _, case in judge.cases]
        public, hidden = judge.verdicts(calls)
        assert public.shown.endswith("expected 36")
        assert hidden.shown == ""
        assert "46" not in hidden.difference


def test_no_sign_is_said_by_colour_alone_and_all_is_escaped():
    def script(model, x):
        raise ValueError("<script>alert('here')</script>")

    page = CheckText(run_public(GRADIENT, script))._repr_html_()
    assert "<b>✗ error</b>" in page
    assert "one row<br>ValueError: &lt;script&gt;alert(&#39;here&#39;)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "public checks 0/2" in page
    result = run_public(GRADIENT, GRADIENT.misconceptions[0].function)
    result.notes.append("a < b")
    page = CheckText(result)._repr_html_()
    assert "<p><b>Note.</b> a &lt; b</p>" in page
    assert "<p><b>Hint.</b> Take the largest, not the mean.</p>" in page


def test_labkits_own_function_refuses_and_works_again_afterwards():
    from labkit.calls.exercise import Case, Recipe  # noqa: F401
    from labkit.checking import compare

    own = dataclasses.replace(SCALE, blocks=("labkit.checking.near",))
    text = said(own, lambda x, factor: compare.near(x, x) and x * factor + 1)
    assert "write this one yourself: labkit.checking.near" in text
    assert run_public(own, lambda x, factor: compare.near(x, x) and x * factor + 1).points == 0
    assert compare.near(torch.ones(2), torch.ones(2)).passed


def test_a_notebook_is_given_text_and_html(monkeypatch, capsys):
    import IPython
    import IPython.display

    shown = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: type("Shell", (), {"kernel": object()})())
    monkeypatch.setattr(IPython.display, "display", shown.append)
    assert check(SCALE, lambda x, factor: (x + 1) * factor) == 0.0
    assert capsys.readouterr().out == ""
    assert "Hint: Multiply before you add." in repr(shown[0])
    assert "<b>Hint.</b> Multiply before you add." in shown[0]._repr_html_()


def test_calling_check_wrongly_says_how(capsys):
    with pytest.raises(TypeError, match=r"Write check\('demo.scale_add', scale_add\), without calling it"):
        check(SCALE, 3)
    with pytest.raises(KeyError, match="no exercise has the id 'demo.nothing'"):
        check("demo.nothing", print)


def test_answers_known_by_heart_are_told_apart_from_computed_ones():
    from labkit.calls.call import perform, realize
    from labkit.checking.judge import Judge

    known = {2.0: SCALE.public()[0].args, 3.0: SCALE.public()[1].args}

    def lookup(x, factor):
        pictures, times = known.get(factor, known[2.0])
        return pictures * times + 1

    judge = Judge(SCALE, seed=3)  # its hidden factor is 4
    result = judge.result([perform(lookup, realize(c.args), {}, c.probe) for _, c in judge.cases])
    assert result.misconception == "public cases only"
    assert "instead of computing them" in result.hint


@pytest.mark.parametrize("compare", ["close", "exact", lambda case, args, output, expected: output.shape])
@pytest.mark.parametrize("huge", [10**400, -(2**70)])
def test_a_whole_number_that_no_tensor_holds_is_judged_too(compare, huge):
    three = dataclasses.replace(
        SCALE, reference=lambda x: 3, public=lambda: [Case("a number", (1.0,))], compare=compare, blocks=()
    )
    result = run_public(three, lambda x: huge)
    assert [case.verdict.word for case in result.cases] == ["values"]
    assert result.points == 0


def test_float32_is_as_right_as_float64():
    """A student who builds the result with torch.zeros(n, h, w) has float32, and the cases are float64."""
    assert run_public(SCALE, lambda x, factor: (x * factor + 1).float()).points == SCALE.points


def test_a_loop_that_never_ends_is_told_so_and_the_kernel_goes_on():
    def endless(x, factor):
        while True:
            pass

    text = said(dataclasses.replace(SCALE, seconds=0.3), endless)
    assert "✗ timeout" in text
    assert "not done after 0.3 s: does a loop never end?" in text
    assert run_public(SCALE, SCALE.reference).points == SCALE.points


def test_a_loop_ends_though_another_handler_took_the_interrupt():
    """As an event loop does, for example Playwright's in the browser tests of this very process."""
    import dataclasses
    import signal

    def endless(x, factor):
        while True:
            pass

    def deaf(*_):
        pass

    before = signal.signal(signal.SIGINT, deaf)
    try:
        assert "✗ timeout" in said(dataclasses.replace(SCALE, seconds=0.3), endless)
        assert signal.getsignal(signal.SIGINT) is deaf
    finally:
        signal.signal(signal.SIGINT, before)


def test_the_stop_button_still_stops():
    def stopped(x, factor):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_public(SCALE, stopped)


def test_a_misspelt_name_is_met_with_the_one_that_was_meant():
    def scale_add(image, factor):
        return imge * factor  # noqa: F821

    text = said(SCALE, scale_add)
    assert "did you mean image?" in text

    def other(x, factor):
        return quite_another * factor  # noqa: F821

    assert "hand it to the function as an argument, or define quite_another" in said(SCALE, other)


def test_a_mistake_is_recognised_beside_a_side_effect():
    """Two slips at once: the hint is that of the value, and what was left behind is said as well."""
    from labkit.exercises import find

    saliency = dataclasses.replace(find("attribution.saliency"), blocks=())
    wrong = next(m for m in saliency.misconceptions if m.name == "abs().mean(1)")

    def careless(model, images, target):
        model(images).sum().backward()
        return wrong.function(model, images, target)

    result = run_public(saliency, careless)
    assert result.hint == wrong.hint
    told = [case.verdict.difference for case in result.cases]
    assert any("; and " in text for text in told)


def test_what_is_red_is_remembered_until_it_is_green(capsys):
    from labkit.checking.check import RED

    check(SCALE, lambda x, factor: x)
    assert SCALE.id in RED
    check(SCALE, SCALE.reference)
    assert SCALE.id not in RED


def stumbling_exercise():
    def listen(model, x):
        handle = model.features.register_forward_hook(lambda *_: None)
        try:
            return model(x)
        finally:
            handle.remove()

    def cases(draw):
        yield Case("a network", (draw.net("nested"), draw.pictures(1, 3, 4, 4)), probe="both")
        yield Case(
            "a network that fails",
            (draw.net("nested", stumbles=True), draw.pictures(1, 3, 4, 4)), probe="both", fails=True,
        )  # fmt: skip

    return dataclasses.replace(
        GRADIENT, reference=listen, misconceptions=(), blocks=(),
        public=lambda: drawn(cases, 1), hidden=lambda seed: hidden(cases, "demo", seed),
    )  # fmt: skip


def test_where_the_network_fails_the_function_must_and_clear_up_before():
    exercise = stumbling_exercise()
    assert audit(exercise) == []

    def never_cleared(model, x):
        handle = model.features.register_forward_hook(lambda *_: None)
        out = model(x)
        handle.remove()
        return out

    def swallowed(model, x):
        try:
            return exercise.reference(model, x)
        except RuntimeError:
            return x

    assert "public checks 2/2" in said(exercise, exercise.reference)
    text = said(exercise, never_cleared)
    assert "public checks 1/2" in text
    assert "the network raises an error, and the network's hooks are not as they were" in text
    assert "handle.remove(), in finally:" in text
    assert "let it pass, it must not be swallowed" in said(exercise, swallowed)


def test_a_slow_import_is_no_endless_loop():
    """Time of the processor counts: half a second of waiting is none of it."""
    waits = threading.Event()

    def slow(x, factor):
        waits.wait(0.5)
        return x * factor + 1

    assert "public checks 2/2" in said(dataclasses.replace(SCALE, seconds=0.3), slow)
