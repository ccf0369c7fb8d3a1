"""The explanations that are made where no config chooses: those of `conf/explain.yaml`, as their classes have them."""

from __future__ import annotations

from deepfake.explain.gradcam import GradCam
from deepfake.explain.integrated_gradients import IntegratedGradients
from deepfake.explain.method import Method
from deepfake.explain.occlusion import Occlusion
from deepfake.explain.saliency import Saliency


def methods() -> dict[str, Method]:
    """By name."""
    return {
        "saliency": Saliency(),
        "gradcam": GradCam(),
        "integrated_gradients": IntegratedGradients(),
        "occlusion": Occlusion(),
    }
