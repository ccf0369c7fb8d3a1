"""Maps: sums, resampling to other grids, and refusal of values that are not finite."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from hydra.utils import instantiate
from tiny import compose

from deepfake.errors import InputError
from deepfake.explain.map import Map, checked

COARSE = Map("x", np.arange(6.0).reshape(2, 3), np.array([0, 1000, 8000]), np.array([0, 0.1, 0.25, 0.3]), {})


def test_over_time_sums_the_bands():
    assert COARSE.over_time().tolist() == [3, 5, 7]


def test_another_grid_repeats_cells_without_interpolation():
    hz, seconds = np.linspace(0, 8000, 17), np.linspace(0, 0.3, 31)
    fine = COARSE.on(hz, seconds)
    for r, centre_hz in enumerate((hz[1:] + hz[:-1]) / 2):
        for c, centre in enumerate((seconds[1:] + seconds[:-1]) / 2):
            row, column = int(centre_hz >= 1000), int(centre >= 0.1) + int(centre >= 0.25)
            assert fine[r, c] == COARSE.values[row, column]
    assert np.array_equal(COARSE.on(COARSE.hz, COARSE.seconds), COARSE.values)


def test_a_grid_beyond_the_map_has_its_nearest_cell():
    assert COARSE.on(np.array([9000, 10000]), np.array([0.3, 0.5])).tolist() == [[5]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_map_that_is_not_finite_is_refused(bad):
    assert checked(COARSE) is COARSE
    with pytest.raises(InputError, match=r"x: .* not finite"):
        checked(COARSE._replace(values=np.array([[0.0, bad]])))


def test_methods_are_selected_and_set_by_name():
    default = compose("run=x", config="explain").explain
    assert list(default) == ["saliency", "gradcam", "integrated_gradients", "occlusion"]
    selected = compose("run=x", "explain=[gradcam,saliency]", "explain.saliency.n_samples=3", config="explain").explain
    assert list(selected) == ["gradcam", "saliency"] and selected.saliency.n_samples == 3
    for name, settings in default.items():
        method = instantiate(settings, _convert_="all")
        assert type(method).__name__.lower() == name.replace("_", "")
        signature = inspect.signature(type(method)).parameters
        written = {key: value for key, value in settings.items() if key != "_target_"}
        assert list(written) == list(signature)  # every setting, at the value of the class
        for key, value in written.items():
            assert value == signature[key].default or tuple(value) == signature[key].default
