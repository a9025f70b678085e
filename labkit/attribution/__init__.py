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
    extremal_perturbation,
    extremal_perturbation_result,
)
from labkit.attribution.gradient import gradient_x_input, saliency, smooth_grad
from labkit.attribution.kernelshap import (
    KernelShapValues,
    kernel_shap,
    kernel_shap_result,
    kernel_shap_values,
    kernel_shap_values_result,
)
from labkit.attribution.meaningful_perturbations import (
    MeaningfulPerturbation,
    channel_attribution,
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
    "saliency": Method(saliency),
    "gradient_x_input": Method(gradient_x_input),
    "smooth_grad": Method(smooth_grad, {"samples": 4}),
    "integrated_gradients": Method(integrated_gradients, {"steps": 32, "tolerance": 10.0}),
    "extremal_perturbation": Method(extremal_perturbation, {"area": (0.1, 0.3), "steps": 3}),
    "meaningful_perturbation": Method(
        meaningful_perturbation, {"steps": 4, "reward": "logit", "area_weight": 1e-3}
    ),
    "occlusion": Method(occlusion, {"window": 16, "stride": 8}, models="agnostic"),
    "rise": Method(rise, {"masks": 48, "cells": 4, "probability": False}, models="agnostic"),
    "lime": Method(lime, {"samples": 48}, models="agnostic"),
    "kernel_shap": Method(kernel_shap, {"samples": 80}, models="agnostic"),
    "deep_shap": Method(deep_shap, {"baselines": "grey"}),
    "cam": Method(cam),
    "grad_cam": Method(grad_cam),
    "guided_backprop": Method(guided_backprop),
    "deconvnet": Method(deconvnet),
    "guided_grad_cam": Method(guided_grad_cam),
    "excitation_backprop": Method(excitation_backprop),
}

# Public functions that are no map methods: cores, and what is done with a map.
TOOLS: tuple[str, ...] = (
    "channel_attribution",
    "grabcut",
    "kernel_shap_values",
    "shapley_values",
    "superpixels",
    "threshold",
)

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
    "superpixels",
    "threshold",
]
