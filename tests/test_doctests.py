"""The examples in docstrings, which are part of the documentation of `metrics`, `audio` and the detector, hold."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

import deepfake.audio
import deepfake.metrics

MODULES = [
    *(
        module.name
        for package in (deepfake.audio, deepfake.metrics)
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    ),
    "deepfake.detector",
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_hold(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert not failed


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("deepfake.metrics.")])
def test_every_public_function_of_the_metrics_has_one(name):
    module = importlib.import_module(name)
    functions = inspect.getmembers(module, lambda f: inspect.isfunction(f) and f.__module__ == name)
    assert [n for n, f in functions if not n.startswith("_") and ">>>" not in (f.__doc__ or "")] == []
