"""Groups of parameters with settings of their own: which belong to which, schedules, and resuming."""

from __future__ import annotations

import functools

import pytest
import torch
from interrupted import train_until, train_without_report
from small_detectors import sizes, small
from tiny import compose, tiny_run
from torch import nn

from deepfake.errors import InputError
from deepfake.training.groups import optimizer_of


class Task(nn.Module):
    def __init__(self, detector):
        super().__init__()
        self.detector = detector


def rates(module, **settings):
    """Learning rate by name, of an optimiser at 0.1."""
    made = optimizer_of(functools.partial(torch.optim.SGD, lr=0.1, **settings), module)
    names = {parameter: name for name, parameter in module.named_parameters()}
    return {names[p]: group["lr"] for group in made.param_groups for p in group["params"]}


def test_the_first_pattern_found_in_a_name_decides():
    module = Task(nn.ModuleDict({"features": nn.Linear(2, 2), "model": nn.Linear(2, 2)}))
    module.detector["model"].bias.requires_grad_(False)
    found = rates(module, groups={"^features.*bias": {"lr": 0.5}, "features": {"lr": 0.01, "momentum": 0.9}})
    assert found == {"detector.features.weight": 0.01, "detector.features.bias": 0.5, "detector.model.weight": 0.1}
    make = functools.partial(torch.optim.SGD, lr=0.1, groups={"features": {"momentum": 0.9}})
    assert sorted((len(g["params"]), g["lr"], g["momentum"]) for g in optimizer_of(make, module).param_groups) == [
        (1, 0.1, 0), (2, 0.1, 0.9)
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["wavlm_large", "whisper_tiny_en"])
def test_rates_decay_from_layer_to_layer(kind):
    module = Task(small("ssl_linear", kind, "features.freeze=none"))
    found = rates(module, layer_decay=0.5, groups={"features": {"lr": 0.8}})
    base = {name.removeprefix("detector.features.base."): rate for name, rate in found.items()}
    by_rate = {rate: [name for name, r in base.items() if r == rate] for rate in sorted(set(base.values()))}
    assert list(by_rate) == [0.1, 0.2, 0.4, 0.8]
    first, second = by_rate[0.2], by_rate[0.4]
    assert first and all("s.0." in name for name in first) and all("s.1." in name for name in second)
    assert "detector.model.head.weight" in by_rate[0.1] and "detector.features.weight" in by_rate[0.8]
    assert {name.split(".")[0] for name in by_rate[0.1]} >= ({"conv1"} if "whisper" in kind else {"feature_extractor"})


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"groups": {"feature_s": {"lr": 1.0}}},
            r"optimizer\.groups: feature_s is found in .* begin with model\.blocks",
        ),
        ({"groups": {"model": {}, "head": {"lr": 1.0}}}, r"optimizer\.groups: head is found in the name of no"),
        ({"groups": {"(": {"lr": 1.0}}}, r"optimizer\.groups: \( is no regular expression"),
        ({"groups": {"head": 3}}, r"optimizer\.groups\.head=3: settings were expected"),
        ({"groups": {"head": {"lrr": 3}}}, r"optimizer\.groups\.head=.*lrr.* cannot be made"),
        ({"groups": {"head": {"lr": -1}}}, r"optimizer\.groups\.head=.* cannot be made.*-1"),
        ({"layer_decay": 0.9}, r"optimizer\.layer_decay=0\.9: a pre-trained front end"),
    ],
)
def test_what_cannot_be_is_named(settings, sentence):
    with pytest.raises(InputError, match=sentence):
        rates(Task(small("cnn", "lfcc")), **settings)


def test_a_rate_that_does_not_decay_is_refused():
    with pytest.raises(InputError, match=r"optimizer\.layer_decay=1\.5: a number above 0 and at most 1"):
        rates(Task(small("ssl_linear", "whisper_tiny_en", "features.freeze=none")), layer_decay=1.5)


def test_groups_follow_the_schedule_and_a_resumed_run_is_the_same(tiny_la, tmp_path):
    own = ("model=ssl_linear", "features=whisper_tiny_en", *sizes("whisper_tiny_en"), "features.freeze=none")
    own += ("optimizer.groups={features: {lr: 0.001}}", "optimizer.layer_decay=0.5", "optimizer.lr=0.01")
    own += ("scheduler.eta_min=0",)
    whole, halved = tmp_path / "whole", tmp_path / "halved"
    train_without_report(tiny_run(tiny_la, whole, *own))
    train_until(tiny_run(tiny_la, halved, *own), epoch=1, step=1)
    train_without_report(compose(f"resume='{halved}'"))
    a, b = (torch.load(f / "checkpoints" / "last.ckpt", weights_only=True) for f in (whole, halved))
    assert all(torch.equal(a["state_dict"][name], b["state_dict"][name]) for name in a["state_dict"])
    groups = a["optimizer_states"][0]["param_groups"]
    assert groups == b["optimizer_states"][0]["param_groups"]
    assert sorted(g["initial_lr"] for g in groups) == pytest.approx([0.000125, 0.00025, 0.0005, 0.001, 0.01])
    assert all(g["lr"] == 0 for g in groups)
