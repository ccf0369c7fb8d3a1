from __future__ import annotations

import pytest

from deepfake.errors import InputError
from deepfake.models.blocks.fraction import require_fraction


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.0])
def test_what_is_no_fraction_is_refused_by_its_name(value: float) -> None:
    require_fraction("model.dropout", 0.0)
    with pytest.raises(InputError, match=f"model.dropout is {value}"):
        require_fraction("model.dropout", value)
