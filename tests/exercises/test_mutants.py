"""Cases are not blind: whatever mutant of an answer passes them all is named here, with why it is right."""

from __future__ import annotations

import pytest

from labkit.checking.mutants import blind, mutants
from labkit.exercises import all_exercises

# another procedure that finds as much is as right, so that a signed finding is left out
COURSE = [exercise for exercise in all_exercises() if exercise.answer and not exercise.signed]
LOGS, SIGN = "(near[:, -1:] / near[:, :-1]).log()", "torch.where(largest < 0, -1, 1)"
NEAR = "F.cosine_similarity(first, shown[None]) > F.cosine_similarity(second, shown[None])"
EQUIVALENT = {
    "adversarial.augment": {
        "pictures.detach().clone() -> pictures.detach() in line 1": "nothing is written to it"
    },
    "adversarial.patch_step": {
        "patch.detach().clone() -> patch.detach() in line 1": "nothing is written to it",
        "rate * slope.sign() -> rate / slope.sign() in line 6": "it is 1 or -1",
        "scores[:, target].mean() -> scores[:, target].sum() in line 4": "the slope's sign is the same",
    },
    "adversarial.climb": {
        "images.clone() -> images in line 1": "nothing is written to it",
        "loss(model(at), labels).sum() -> loss(model(at), labels).mean() in line 5": "its sign is taken",
    },
    "adversarial.hardened": {"True -> 2 in line 6": "both are true"},
    "concepts.rank_agreement": {
        "(pairs[:, None] > pairs).sum(1) -> (pairs[:, None] > pairs).sum(0) in line 5": (
            "both are ranked from the other end"
        ),
        "(pairs[:, None] == pairs).sum(1) -> (pairs[:, None] == pairs).sum(0) in line 5": (
            "who equals whom is symmetric"
        ),
    },
    "attribution.fit_surrogate": {
        f"scores - share @ scores -> {left} in line 2": "the centred masks are orthogonal to the weights"
        for left in ("scores + share @ scores", "scores")
    },
    "attribution.occlusion": {"0 -> 1 in line 1": "only the shape of one channel is taken"},
    "concepts.cav": {"1 -> 2 in line 3": "a constant on all labels moves nothing, and the length is 1"},
    "concepts.directional_derivatives": {
        "activations.detach().clone() -> activations.detach() in line 1": "nothing is written to it"
    },
    "visualization.ascend": {
        "score(images).sum() -> score(images).mean() in line 3": "the gradient is divided by its size"
    },
    "visualization.clip_contributions": {
        "((images - 0.5) * gradient).sum(1) -> ((images - 0.5) * gradient).mean(1) in line 1": (
            "a factor alike for all pixels"
        )
    },
    "visualization.reader": {
        f"{NEAR} -> {NEAR.replace('>', '>=')} in line 1": "no two are just as near",
        "drive_first > drive_second -> drive_first >= drive_second in line 2": "no two drive it alike",
    },
    "style.style_loss": {"0 -> 1 in line 4": "all pictures have the same size"},
    "warm_up.train": {"p.detach().clone() -> p.detach() in line 3": "nothing is written to it"},
    "warm_up.input_gradient": {
        "images.detach().clone() -> images.detach() in line 1": "nothing is written to it"
    },
    "attribution.learn_mask": {"False -> 1 in line 10": "the bar vanishes at its end"},
    "attribution.mask_loss": {"(1 - mask).abs() -> 1 - mask in line 4": "a mask is never above 1"},
    "evaluation.cascade": {"False -> 1 in line 3": "the bar vanishes at its end"},
    "evaluation.prediction_holds": {
        "light.sum((2, 3)) -> light.mean((2, 3)) in line 2": "a factor alike for all objects"
    },
    "attribution.features_and_gradients": {
        "images.detach().clone() -> images.detach() in line 9": "nothing is written to it"
    },
    "attribution.rescale_multiplier": {
        "difference.abs() < 1e-06 -> difference.abs() <= 1e-06 in line 2": "no difference is just that small",
        "1.0 -> 2.0 in line 4": "what stands in for a difference of 0 is not used",
    },
    "visualization.commonest": {
        "(labels[:, :, None] == labels[:, None, :]).sum(2) -> "
        "(labels[:, :, None] == labels[:, None, :]).sum(1) in line 1": "who agrees with whom is symmetric"
    },
    "style.octaves": {"True -> 2 in line 3": "both are true"},
    "visualization.strongest": {"True -> 2 in line 7": "both are true"},
    "adversarial.loss_gradient": {
        "images.detach().clone() -> images.detach() in line 1": "nothing is written to it"
    },
    "attribution.saliency": {
        "images.detach().clone() -> images.detach() in line 1": "nothing is written to it"
    },
    "concepts.rotate_units": {
        "q * r.diagonal().sign() -> q / r.diagonal().sign() in line 2": "it is 1 or -1",
        "torch.linalg.det(q) < 0 -> torch.linalg.det(q) <= 0 in line 3": "it is 1 or -1",
    },
    "concepts.unique_detectors": {"True -> 2 in line 3": "both are true"},
    "visualization.affinities": {
        "60 -> 61 in line 4": "one halving more",
        "20.0 -> 21.0 in line 2": "a wider bracket",
        "entropy > math.log(perplexity) -> entropy >= math.log(perplexity) in line 8": "never just that",
    },
    "visualization.mle_dimension": {
        f"{LOGS}.mean(1) -> {LOGS}.mean(0) in line 2": "a mean of means is the mean, whichever comes first"
    },
    "detective.paired_direction": {
        "(present - absent).mean(0) -> (present - absent).sum(0) in line 1": "its length is taken off"
    },
    "style.gram_loss": {"True -> 2 in line 2": "both are true"},
    "style.autocorrelation_length": {"line < level -> line <= level in line 6": "never just that"},
    "style.next_pixel": {
        "squares.sum((0, 3, 4)) -> squares.mean((0, 3, 4)) in line 5": "a factor alike for all windows",
        "away <= (1 + tolerance) * away.min() -> away < (1 + tolerance) * away.min() in line 6": (
            "no two are just that far"
        ),
    },
    "visualization.pca": {
        f"directions * {SIGN} -> directions / {SIGN} in line 4": "it is 1 or -1",
        "largest < 0 -> largest <= 0 in line 4": "the largest entry is not 0",
    },
}


@pytest.mark.parametrize("exercise", COURSE, ids=lambda e: e.id)
def test_every_mutant_that_passes_is_right(exercise):
    assert len(list(mutants(*exercise.answer))) >= 2
    passed = set(blind(exercise, seed=3)) & set(blind(exercise, seed=8))
    assert passed == set(EQUIVALENT.get(exercise.id, {}))
