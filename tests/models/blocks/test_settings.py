from __future__ import annotations

import pytest

from deepfake.errors import InputError
from deepfake.models.blocks.settings import require_fractions, require_numbers


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.0])
def test_a_number_outside_the_fractions_is_refused_by_its_name(value: float) -> None:
    require_fractions(dropout=0.0)
    with pytest.raises(InputError, match=rf"model\.dropout={value}: a fraction from 0 to below 1 was expected"):
        require_fractions(node_dropout=0.5, dropout=value)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"channels": []}, r"model\.channels=\[\]: numbers of at least 1 were expected"),
        ({"channels": [3, 0]}, r"model\.channels=\[3, 0\]: numbers of at least 1 were expected"),
        ({"n": 3, "channels": (3, 4)}, r"model\.channels=\[3, 4\]: 3 numbers of at least 1 were expected"),
        ({"n_filters": 2, "lowest": 3}, r"model\.n_filters=2: a number of at least 3 was expected"),
        ({"mask_filters": 9, "lowest": 0, "highest": 8}, r"model\.mask_filters=9: a number from 0 to 8 was expected"),
        ({"width": float("nan")}, r"model\.width=nan: a number of at least 1 was expected"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_its_name(settings: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        require_numbers(**settings)


def test_settings_within_their_range_are_accepted() -> None:
    require_numbers(units=1, channels=(1, 2, 3))
    require_numbers(2, graph_dims=[4, 6])
    require_numbers(3, ratios=(0.5, 0.7, 1), lowest=1e-6, highest=1)
