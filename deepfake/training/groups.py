"""Optimisers with settings of their own for groups of parameters, and smaller steps for deeper layers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from deepfake.errors import InputError
from deepfake.features.pretrained import Pretrained


def optimizer_of(make: Callable[..., torch.optim.Optimizer], module: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of the trained parameters of a module.

    Args:
        make: Called with the parameters, or their groups. Among its settings may be `groups`, settings of the optimiser
            by regular expression: each parameter belongs to the first one that is found in its name, without
            `detector.`, and keeps the optimiser's settings where there is none; and `layer_decay`, by which the
            learning rate of each layer of a pre-trained front end is smaller than that of the next one (Howard and
            Ruder, ACL 2018), above 0 and at most 1.
        module: With `detector`, where these settings are given.

    Raises:
        InputError: The optimiser does not take its settings, or a pattern is none, or is found in no name.
    """
    named = [(n.removeprefix("detector."), p) for n, p in module.named_parameters() if p.requires_grad]
    parameters: Sequence[Any] = [p for _, p in named]
    settings = dict(getattr(make, "keywords", {}))
    groups, decay = settings.pop("groups", None) or {}, settings.pop("layer_decay", None)
    make = getattr(make, "func", make)
    if groups or decay is not None:
        of_pattern = _by_pattern(named, groups)
        depth = {} if decay is None else _depths(module.detector.features, decay)  # type: ignore[union-attr]
        together: dict[tuple[str | None, int], list[nn.Parameter]] = {}
        for name, parameter in named:
            together.setdefault((of_pattern[name], depth.get(parameter, 0)), []).append(parameter)
        parameters = []
        for (pattern, layers), members in together.items():
            own = dict(groups[pattern]) if pattern else {}
            if layers:
                own["lr"] = own.get("lr", settings.get("lr", 1e-3)) * (decay or 1) ** layers
            parameters.append({"params": members, **own})
    for pattern, own in groups.items():  # torch does not check what a group says
        _made(make, [nn.Parameter(torch.zeros(1))], {**settings, **own}, f"optimizer.groups.{pattern}={own}: ")
    return _made(make, parameters, settings)


def _made(make: Callable[..., torch.optim.Optimizer], parameters: Any, settings: Any, what: str = "") -> Any:
    try:
        return make(parameters, **settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}the optimiser cannot be made: {error}") from error


def _by_pattern(named: Sequence[tuple[str, nn.Parameter]], groups: Mapping[str, Any]) -> dict[str, str | None]:
    """The first pattern that is found in each name, or None."""
    for pattern, own in groups.items():
        if not isinstance(own, Mapping):
            raise InputError(f"optimizer.groups.{pattern}={own}: settings were expected, as {{lr: 1e-6}}")
        try:
            re.compile(pattern)
        except re.error as error:
            raise InputError(f"optimizer.groups: {pattern} is no regular expression: {error}") from error
    found = {name: next((p for p in groups if re.search(p, name)), None) for name, _ in named}
    if idle := [pattern for pattern in groups if pattern not in found.values()]:
        names = ", ".join(dict.fromkeys(".".join(name.split(".")[:2]) for name, _ in named))
        raise InputError(
            f"optimizer.groups: {idle[0]} is found in the name of no trained parameter that is left for it; they begin "
            f"with {names}"
        )
    return found


def _depths(front_end: nn.Module, decay: Any) -> dict[nn.Parameter, int]:
    """How many layers below the network each parameter of a front end is."""
    if not isinstance(front_end, Pretrained):
        raise InputError(f"optimizer.layer_decay={decay}: a pre-trained front end was expected, as features=ssl")
    if not isinstance(decay, int | float) or not 0 < decay <= 1:
        raise InputError(f"optimizer.layer_decay={decay}: a number above 0 and at most 1 was expected")
    depths, top = {}, max(front_end.layers)
    convolutions, others = front_end.stem
    for module in (*convolutions, *others):
        depths |= dict.fromkeys(module.parameters(), top + 1)
    for i, block in enumerate(front_end.blocks[:top]):
        depths |= dict.fromkeys(block.parameters(), top - i)
    return depths
