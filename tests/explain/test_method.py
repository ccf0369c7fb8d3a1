"""Every explanation of conf/explain, with every pair of model and front end."""

from __future__ import annotations

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from small_detectors import CONF, PAIRS, noise, small

from deepfake.explain.clip import Clip
from deepfake.explain.method import Method, strongest, supported

EXPLANATIONS = sorted(path.stem for path in (CONF / "explain").glob("*.yaml"))
QUICK = {"integrated_gradients": {"steps": 16}, "occlusion": {"seconds": 0.2, "bands": 2}}
METHODS = {
    name: instantiate(OmegaConf.load(CONF / "explain" / f"{name}.yaml"), **QUICK.get(name, {})) for name in EXPLANATIONS
}


@pytest.mark.parametrize(("model", "features"), PAIRS)
@pytest.mark.parametrize("name", EXPLANATIONS)
def test_every_explanation_maps_every_detector_that_it_supports(name, model, features):
    detector, method = small(model, features), METHODS[name]
    assert isinstance(method, Method)
    if (lack := method.lacks(detector)) is not None:
        assert getattr(detector.model, lack) is None
        return
    found, again = (method.attribute(Clip(detector, noise(0.05))) for _ in range(2))
    assert np.array_equal(found.values, again.values)
    assert found.values.shape == (len(found.hz) - 1, len(found.seconds) - 1) and np.isfinite(found.values).all()
    assert (np.diff(found.hz) > 0).all() and found.hz[0] >= 0 and found.hz[-1] <= 8000
    assert (np.diff(found.seconds) > 0).all() and found.seconds[[0, -1]] == pytest.approx([0, 0.05])
    assert found.facts["unit"] and found.facts["additive"] in ("yes", "no")


def test_the_methods_that_cannot_explain_a_detector_are_left_out_unless_none_can(caplog):
    detector = small("lfcc_gmm", "lfcc")
    assert [*supported(METHODS, detector)] == [name for name in EXPLANATIONS if name != "gradcam"]
    assert "gradcam is left out: GaussianMixtures has no last_map" in caplog.text
    assert [*supported({"gradcam": METHODS["gradcam"]}, detector)] == ["gradcam"]  # to say so itself


def test_regions_come_from_the_method_of_the_highest_rank():
    known = ["occlusion", "gradcam", "integrated_gradients", "saliency"]
    for i, name in enumerate(known):
        assert strongest({name: METHODS[name] for name in reversed(known[i:])}) == name
    assert strongest({"mine": Method()}) == "mine" and strongest({}) is None
