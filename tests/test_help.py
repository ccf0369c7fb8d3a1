"""`--help` of the entry scripts: what it does, examples, and a line for each group of configs."""

from __future__ import annotations

import re

import pytest
import yaml
from children import python
from tiny import REPOSITORY


@pytest.mark.parametrize("command", ["train", "evaluate", "explain"])
def test_help_lists_its_own_groups_and_fits_a_terminal(command):
    text = python(f"{command}.py", "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert len(re.findall(rf"^  python {command}\.py", text, flags=re.M)) == 6
    defaults = yaml.safe_load((REPOSITORY / "conf" / f"{command}.yaml").read_text())["defaults"]
    groups = {key for entry in defaults if entry != "_self_" for key in entry if "hydra/" not in key}
    listed = dict(re.findall(r"^  ([a-z]+) +((?:.+\n?)(?:^ {13}.+\n?)*)", text.split("Choices")[1], flags=re.M))
    assert groups == {name for name in listed if (REPOSITORY / "conf" / name).is_dir()}
    for name in groups:
        choices = {path.stem for path in (REPOSITORY / "conf" / name).glob("*.yaml")}
        assert set(re.split(r",\s+", listed[name].strip())) == choices
