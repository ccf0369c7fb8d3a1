"""What every network owes, and refusals in words."""

from __future__ import annotations

import pytest
import torch
from small_detectors import MODELS, default_front_end, network_class, small
from torch import Tensor, nn

from deepfake.errors import InputError
from deepfake.models.network import FrameNetwork, Network


class Mean(Network):
    takes = ("spectrum",)

    def __init__(self, in_channels: int, min_channels: int = 16, min_frames: int = 20) -> None:
        super().__init__(in_channels, min_channels=min_channels, min_frames=min_frames)
        self.head = nn.Linear(in_channels, 1)

    def embed(self, features: Tensor) -> Tensor:
        self.require_shape(features)
        return features.mean(dim=2)


def test_names_what_was_got_and_wanted() -> None:
    with pytest.raises(InputError, match=r"Mean, raw audio .* 16 bands .*features=mel"):
        Mean(1)
    with pytest.raises(InputError, match=r"at least 20 frames"):
        Mean(16)(torch.zeros(1, 16, 3))
    with pytest.raises(InputError, match=r"at least 20 samples"):
        Mean(1, min_channels=1)(torch.zeros(1, 1, 3))
    with pytest.raises(InputError, match=r"features \[16, 30\]: \[B, 16, L\] was expected"):
        Mean(16)(torch.zeros(16, 30))


def test_the_least_is_enough() -> None:
    assert Mean(16)(torch.zeros(2, 16, 20)).shape == (2, 1)


def test_a_kind_of_front_end_is_refused_by_name() -> None:
    Mean.require_kind("spectrum")
    for kind in ("raw audio", "embedding"):
        with pytest.raises(InputError, match=f"Mean, .* {kind}: spectrum was expected; choose features=mel"):
            Mean.require_kind(kind)


def test_the_defaults_promise_nothing() -> None:
    assert Mean(16).last_map is None and Mean(16).branches == ()


@pytest.mark.parametrize("model", MODELS)
def test_every_network_gives_what_the_contract_says(model: str) -> None:
    detector = small(model, default_front_end(model))
    network, waveform = detector.model, 0.1 * torch.randn(3, detector.n_samples)
    assert type(network) is network_class(model) and network.in_channels == detector.features.n_channels
    maps = []
    if (last := network.last_map) is not None:
        last.module.register_forward_hook(lambda module, inputs, output: maps.append(output.ndim))
    with torch.enable_grad():  # as explanations call it
        features = detector.features(waveform)
        logits = network(features)
        assert logits.shape in ((3, 1), (3, 2)) and maps == ([] if last is None else [4])
        embedding = network.embed(features)
        assert len(embedding) == 3 and embedding.ndim == (3 if detector.locates else 2)
        if isinstance(network, FrameNetwork):
            frames = network.frames(features)
            assert frames.shape == embedding.shape[:2]
            torch.testing.assert_close(network.pooled(frames), logits)
        if network.branches:
            parts = network.branch_logits(features)
            assert set(parts) == {*network.branches, "bias"}
            torch.testing.assert_close(sum(parts.values()), logits[:, 0])
