"""Which part of the input decides? Each method returns a map (N, H, W), detached and never rescaled."""

from __future__ import annotations

from labkit.attribution.backprop import (
    ModifiedGradient,
    deconvnet,
    deconvnet_result,
    guided_backprop,
    guided_backprop_result,
    guided_grad_cam,
)
from labkit.attribution.cam import cam, grad_cam
from labkit.attribution.deeplift import DeepShap, deep_shap, deep_shap_result
from labkit.attribution.excitation import (
    ExcitationBackprop,
    excitation_backprop,
    excitation_backprop_result,
)
from labkit.attribution.extremal_perturbations import (
    ExtremalPerturbation,
    channel_attribution,
    extremal_perturbation,
    extremal_perturbation_result,
)
from labkit.attribution.gradient import gradient_x_input, saliency, smooth_grad, smooth_grad_result
from labkit.attribution.kernelshap import (
    KernelShapValues,
    kernel_shap,
    kernel_shap_result,
    kernel_shap_values,
    kernel_shap_values_result,
)
from labkit.attribution.meaningful_perturbations import (
    MeaningfulPerturbation,
    meaningful_perturbation,
    meaningful_perturbation_result,
)
from labkit.attribution.occlusion_sensitivity import Occlusion, occlusion, occlusion_result
from labkit.attribution.path_gradients import (
    IntegratedGradients,
    integrated_gradients,
    integrated_gradients_result,
)
from labkit.attribution.rise import Rise, rise, rise_result
from labkit.attribution.segmentation import grabcut, threshold
from labkit.attribution.shapley import shapley_values
from labkit.attribution.slic import superpixels
from labkit.attribution.surrogate import Surrogate, lime, lime_result
from labkit.core.registry import Method

METHODS: dict[str, Method] = {
    "saliency": Method(saliency, "Saliency", "Simonyan, Vedaldi and Zisserman 2014"),
    "gradient_x_input": Method(gradient_x_input, "Gradient x input", "Shrikumar et al. 2016"),
    "smooth_grad": Method(smooth_grad, "SmoothGrad", "Smilkov et al. 2017", {"samples": 4}),
    "integrated_gradients": Method(
        integrated_gradients,
        "Integrated gradients",
        "Sundararajan, Taly and Yan 2017",
        {"steps": 32, "tolerance": 10.0},
    ),
    "extremal_perturbation": Method(
        extremal_perturbation,
        "Extremal perturbation",
        "Fong, Patrick and Vedaldi 2019",
        {"area": (0.1, 0.3), "steps": 3},
        dead="warns",
        amplifies=True,
    ),
    "meaningful_perturbation": Method(
        meaningful_perturbation,
        "Meaningful perturbation",
        "Fong and Vedaldi 2017",
        {"steps": 4, "reward": "logit", "area_weight": 1e-3},
        dead="warns",
        amplifies=True,
    ),
    "occlusion": Method(
        occlusion,
        "Occlusion",
        "Zeiler and Fergus 2014",
        {"window": 16, "stride": 8},
        models="agnostic",
    ),
    "rise": Method(
        rise,
        "RISE",
        "Petsiuk, Das and Saenko 2018",
        {"masks": 48, "cells": 4, "probability": False},
        dead="any",  # a mean of scores, not of differences
        models="agnostic",
    ),
    "lime": Method(lime, "LIME", "Ribeiro, Singh and Guestrin 2016", {"samples": 48}, models="agnostic"),
    "kernel_shap": Method(
        kernel_shap, "KernelSHAP", "Lundberg and Lee 2017", {"samples": 80}, models="agnostic"
    ),
    "deep_shap": Method(deep_shap, "DeepSHAP", "Lundberg and Lee 2017", {"baselines": "grey"}),
    "cam": Method(cam, "CAM", "Zhou et al. 2016", takes=("model", "pictures", "class"), needs=("gap",)),
    "grad_cam": Method(grad_cam, "Grad-CAM", "Selvaraju et al. 2017", needs=("space",)),
    "guided_backprop": Method(
        guided_backprop, "Guided backpropagation", "Springenberg et al. 2015", needs=("relu",)
    ),
    "deconvnet": Method(
        deconvnet,
        "Deconvnet",
        "Zeiler and Fergus 2014",
        needs=("relu",),
        dead="any",  # units that are off let gradients through
    ),
    "guided_grad_cam": Method(
        guided_grad_cam, "Guided Grad-CAM", "Selvaraju et al. 2017", needs=("relu", "space")
    ),
    "excitation_backprop": Method(
        excitation_backprop, "Excitation backprop", "Zhang et al. 2016", needs=("relu",)
    ),
}

# Public functions that are no map methods: cores, and what is done with a map.
TOOLS: dict[str, Method] = {
    "channel_attribution": Method(
        channel_attribution,
        "Channel attribution",
        "Fong, Patrick and Vedaldi 2019",
        {"steps": 3},
        takes=("model", "pictures", "target", "layer"),
        gives="weights",
        dead="warns",
        amplifies=True,
    ),
    "grabcut": Method(
        grabcut,
        "GrabCut",
        "Simonyan, Vedaldi and Zisserman 2014",
        takes=("pictures", "maps"),
        gives="masks",
        models="agnostic",
    ),
    "kernel_shap_values": Method(
        kernel_shap_values,
        "KernelSHAP",
        "Lundberg and Lee 2017",
        takes=("game", "players"),
        gives="weights",
        models="agnostic",
    ),
    "shapley_values": Method(
        shapley_values,
        "Shapley values",
        "Shapley 1953",
        takes=("game", "players"),
        gives="weights",
        models="agnostic",
    ),
    "superpixels": Method(
        superpixels,
        "Superpixels",
        "Achanta et al. 2012",
        takes=("pictures",),
        gives="segments",
        models="agnostic",
    ),
    "threshold": Method(threshold, "Threshold", "", takes=("maps",), gives="masks", models="agnostic"),
}

__all__ = [
    "METHODS",
    "TOOLS",
    "DeepShap",
    "ExcitationBackprop",
    "ExtremalPerturbation",
    "IntegratedGradients",
    "KernelShapValues",
    "MeaningfulPerturbation",
    "Method",
    "ModifiedGradient",
    "Occlusion",
    "Rise",
    "Surrogate",
    "cam",
    "channel_attribution",
    "deconvnet",
    "deconvnet_result",
    "deep_shap",
    "deep_shap_result",
    "excitation_backprop",
    "excitation_backprop_result",
    "extremal_perturbation",
    "extremal_perturbation_result",
    "grabcut",
    "grad_cam",
    "gradient_x_input",
    "guided_backprop",
    "guided_backprop_result",
    "guided_grad_cam",
    "integrated_gradients",
    "integrated_gradients_result",
    "kernel_shap",
    "kernel_shap_result",
    "kernel_shap_values",
    "kernel_shap_values_result",
    "lime",
    "lime_result",
    "meaningful_perturbation",
    "meaningful_perturbation_result",
    "occlusion",
    "occlusion_result",
    "rise",
    "rise_result",
    "saliency",
    "shapley_values",
    "smooth_grad",
    "smooth_grad_result",
    "superpixels",
    "threshold",
]
