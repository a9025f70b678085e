"""The lectures' topics in their order: for each its demo, its notebook, the functions and the paper.

A topic without a demo is listed all the same: the index of ``labkit demo`` shows it grey.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["PARTS", "SLIDES", "Slide"]


class Slide(NamedTuple):
    """A topic of the lectures. ``demo``: its name, perhaps with a network ("compare --model minivgg-tag"), or
    "". ``notebook``: the name without ``.ipynb``, or "". ``functions``: dotted names below ``labkit``."""

    topic: str
    demo: str = ""
    notebook: str = ""
    functions: tuple[str, ...] = ()
    paper: str = ""

    @property
    def page(self) -> str:
        """The file name of the demo's page."""
        return f"{self.demo.replace(' --model ', '-')}.html" if self.demo else ""


_FILTERS, _SPACE, _EXCITES = "11_filters_and_activations", "12_feature_space", "13_what_excites_a_unit"
_WARM, _WHICH, _GRADIENTS = "01_warm_up", "21_which_pixels_matter", "22_gradients_and_their_tricks"
_VECTORS = "33_concepts_are_vectors"
_STYLE = "53_style"
_DISSECT, _DETECTIVE = "32_dissecting_a_network", "35_the_detective"
_MASKS, _SHAP, _TRUST = "23_learned_masks", "24_surrogates_and_shapley", "25_can_you_trust_a_heatmap"
_WITHOUT = "42_attacks_without_the_weights"
_DEFENCES = "43_defences_and_how_they_fall"
_CONCEPTS, _LOOKING = "31_testing_with_concepts", "34_looking_without_a_hypothesis"
_FOOLING = "41_fooling_a_network"
_DREAMING = "51_inverting_and_dreaming"
_TEXTURE = "52_texture"

PARTS: dict[str, tuple[Slide, ...]] = {
    "Networks that learn": (
        Slide("Update rule, loss, a training step", "", _WARM, ("models.training.fit",)),
        Slide("Data sets are biased, and accuracy hides it", "", _TRUST,
              ("evaluation.accuracy_by_group", "evaluation.average_image"), "Buolamwini and Gebru 2018"),
    ),
    "What has the network learned?": (
        Slide("First-layer filters, and higher ones", "filters", _FILTERS,
              ("visualization.filter_grid", "visualization.gabor_fit", "visualization.opponent_fit"),
              "Krizhevsky et al. 2012"),
        Slide("Activations as pictures, channel by channel", "activations", _FILTERS,
              ("visualization.activation_grid",), "Yosinski et al. 2015"),
        Slide("Patches that excite a unit most", "patches", _FILTERS,
              ("visualization.top_patches", "visualization.guided_patches", "visualization.packing"),
              "Zeiler and Fergus 2014; Springenberg et al. 2015"),
        Slide("Nearest neighbours in feature space", "neighbours", _SPACE,
              ("visualization.nearest_neighbors", "evaluation.precision_at_k"), "Krizhevsky et al. 2012"),
        Slide("PCA, t-SNE, DeepMDS, intrinsic dimension", "embedding", _SPACE,
              ("visualization.pca", "visualization.tsne", "visualization.deep_mds",
               "visualization.intrinsic_dimension"),
              "van der Maaten and Hinton 2008; Gong et al. 2019"),
        Slide("Gradient ascent: a picture for a unit", "ascend", _EXCITES, ("visualization.visualize",),
              "Simonyan et al. 2014; Yosinski et al. 2015"),
        Slide("Many facets of one unit", "facets", _EXCITES, ("visualization.multifaceted",),
              "Nguyen et al. 2016"),
        Slide("A generator as a prior", "prior", "", ("visualization.dgn_am",), "Nguyen et al. 2016"),
        Slide("Inversion: what a layer keeps", "invert", _DREAMING, ("style.invert",),
              "Mahendran and Vedaldi 2015"),
    ),
    "Which pixels decide?": (
        Slide("Occlusion", "occlusion", _WHICH, ("attribution.occlusion",), "Zeiler and Fergus 2014"),
        Slide("Saliency", "compare", _WHICH, ("attribution.saliency",), "Simonyan et al. 2014"),
        Slide("Saliency seeds a segmentation: GrabCut", "", _WHICH,
              ("attribution.grabcut", "attribution.threshold"), "Simonyan et al. 2014"),
        Slide("CAM, Grad-CAM", "compare", _WHICH, ("attribution.cam", "attribution.grad_cam"),
              "Zhou et al. 2016; Selvaraju et al. 2017"),
        Slide("Clever Hans: a horse and its copyright mark", "compare --model minivgg-tag", _WHICH,
              ("data.FAULTS",), "Lapuschkin et al. 2016"),
        Slide("Deconvnet, guided backpropagation: the rule at a ReLU", "compare", _GRADIENTS,
              ("attribution.deconvnet", "attribution.guided_backprop"), "Springenberg et al. 2015"),
        Slide("SmoothGrad, integrated gradients", "compare", _GRADIENTS,
              ("attribution.smooth_grad", "attribution.integrated_gradients"),
              "Smilkov et al. 2017; Sundararajan et al. 2017"),
        Slide("Excitation backprop", "", _GRADIENTS, ("attribution.excitation_backprop",),
              "Zhang et al. 2016"),
        Slide("Selectivity to the class asked for", "compare", _GRADIENTS, ("evaluation.rank_correlation",)),
        Slide("RISE", "compare", _MASKS, ("attribution.rise",), "Petsiuk et al. 2018"),
        Slide("Meaningful perturbation: the smallest mask", "masks", _MASKS,
              ("attribution.meaningful_perturbation",), "Fong and Vedaldi 2017"),
        Slide("Extremal perturbation: the best mask of an area", "masks", _MASKS,
              ("attribution.extremal_perturbation",), "Fong et al. 2019"),
        Slide("Channels that suffice", "", _MASKS, ("attribution.channel_attribution",), "Fong et al. 2019"),
        Slide("LIME: a linear stand-in", "", _SHAP, ("attribution.lime",), "Ribeiro et al. 2016"),
        Slide("Husky or wolf: the network read the snow", "compare --model minivgg-snow", _SHAP,
              ("attribution.lime",), "Ribeiro et al. 2016"),
        Slide("A bank loan: Shapley values", "", _SHAP,
              ("attribution.shapley_values", "attribution.kernel_shap_values"), "Lundberg and Lee 2017"),
        Slide("KernelSHAP, DeepSHAP", "", _SHAP, ("attribution.kernel_shap", "attribution.deep_shap"),
              "Lundberg and Lee 2017"),
    ),
    "Can you trust a heatmap?": (
        Slide("The weather of the tanks: a cause without a place", "compare --model minivgg-weather", _TRUST),
        Slide("Randomized parameters", "sanity", _TRUST, ("evaluation.cascading_randomization",),
              "Adebayo et al. 2018"),
        Slide("Insertion and deletion", "", _TRUST, ("evaluation.deletion",), "Petsiuk et al. 2018"),
        Slide("Retraining after removal", "", _TRUST, ("evaluation.roar",), "Hooker et al. 2019"),
        Slide("An explanation should be falsifiable", "masks", _TRUST),
        Slide("Masks against adversarial pictures", "", _TRUST, ("adversarial.fgsm",),
              "Fong and Vedaldi 2017"),
    ),
    "What do the units know?": (
        Slide("The fire engines of two cities", "tcav --model minivgg-melbourne", _CONCEPTS,
              ("concepts.paired_cav",), "Kim et al. 2018"),
        Slide("Testing with concept vectors", "tcav", _CONCEPTS,
              ("concepts.cav", "concepts.directional_derivatives", "concepts.tcav", "concepts.sort_by_cav"),
              "Kim et al. 2018"),
        Slide("Broden: pictures in which each pixel is labelled", "broden", _DISSECT,
              ("data.Broden", "data.label_table"), "Bau et al. 2017"),
        Slide("Network dissection: what a unit detects", "dissect", _DISSECT,
              ("concepts.dissect", "concepts.top_pictures"), "Bau et al. 2017"),
        Slide("Interpretability depends on the axes: rotations", "rotate", _DISSECT,
              ("concepts.rotations.random_rotation", "concepts.rotations.rotation_power"),
              "Bau et al. 2017"),
        Slide("Training, epoch by epoch: when units begin to detect", "training", _DISSECT,
              ("widgets.DissectionExplorer",), "Bau et al. 2017"),
        Slide("Accuracy against interpretability, one point a network", "", _DISSECT,
              ("experiments.training_factors.c6", "plots.show_against"), "Bau et al. 2017"),
        Slide("Fine-tuning: top units before and after", "fine-tuning", _DISSECT,
              ("experiments.fine_tuning.before_and_after",), "Bau et al. 2017"),
        Slide("Concepts are vectors: how many filters a concept takes", "net2vec", _VECTORS,
              ("concepts.net2vec", "concepts.net2vec_classification"), "Fong and Vedaldi 2018"),
        Slide("Arithmetic with concepts; spaces that agree", "arithmetic", _VECTORS,
              ("concepts.analogy", "concepts.concept_distances", "concepts.mantel"),
              "Fong and Vedaldi 2018; Mantel 1967"),
        Slide("Similarity overlays", "overlay", _LOOKING, ("concepts.similarity_map",),
              "Fong and Vedaldi 2018"),
        Slide("A simple model stands in for the network", "distil --model minivgg-melbourne", _LOOKING,
              ("concepts.distill",), "Craven and Shavlik 1996"),
        Slide("People judge units", "rate", "", ("concepts.kappa",), "Zhou et al. 2015"),
        Slide("The detective: what is wrong with this network?", "", _DETECTIVE,
              ("data.replace", "evaluation.findings.judged")),
        Slide("A found fault, corrected", "fix", _DETECTIVE, ("concepts.project_out", "concepts.edit_row"),
              "Bolukbasi et al. 2016"),
    ),
    "Fooling a network; texture and style": (
        Slide("A step along the gradient's sign", "", _FOOLING, ("adversarial.fgsm",),
              "Goodfellow et al. 2015"),
        Slide("Any picture, any class", "attack", _FOOLING,
              ("adversarial.pgd", "adversarial.minimal_perturbation"),
              "Szegedy et al. 2014; Madry et al. 2018"),
        Slide("Examples transfer, and weights are not needed", "transfer", _WITHOUT,
              ("adversarial.transfer_matrix", "adversarial.substitute"),
              "Szegedy et al. 2014; Papernot et al. 2017"),
        Slide("A physical attack: a patch on a crate, a T-shirt", "transfer", _WITHOUT,
              ("adversarial.physical_patch", "data.decal_views"),
              "Athalye et al. 2018; Xu et al. 2020"),
        Slide("A patch that fools wherever it lies", "patch-attack", _WITHOUT,
              ("adversarial.adversarial_patch",), "Brown et al. 2017"),
        Slide("Defences that hide gradients, and how they fall", "defend", _DEFENCES,
              ("adversarial.defenses.Quantized", "adversarial.defenses.HotSoftmax",
               "adversarial.defenses.straight_through"), "Athalye et al. 2018"),
        Slide("Training on attacks", "", _DEFENCES, ("adversarial.hardening.harden",), "Madry et al. 2018"),
        Slide("DeepDream: a layer sees more of what it sees", "dream", _DREAMING, ("style.deepdream",),
              "Mordvintsev, Olah and Tyka 2015"),
        Slide("Texture from a network's Gram matrices", "texture", _TEXTURE,
              ("style.gram_texture", "data.texture"), "Gatys, Ecker and Bethge 2015"),
        Slide("Texture without a network: pixel by pixel", "grow", _TEXTURE, ("style.efros_leung",),
              "Efros and Leung 1999"),
        Slide("Style and content; at once by a network; many styles in one", "style", _STYLE,
              ("style.style_transfer", "style.train_style", "style.stylize"),
              "Gatys et al. 2016; Johnson et al. 2016; Ulyanov et al. 2016; Dumoulin et al. 2017"),
    ),
    "Generators, circuits, games": (
        Slide("Units of a generator; directions in its latent space"),
        Slide("Circuits, read and written"),
        Slide("Reference games"),
    ),
}  # fmt: skip

SLIDES: tuple[Slide, ...] = tuple(slide for part in PARTS.values() for slide in part)
