from __future__ import annotations

import math

import numpy as np
import pytest
import soundfile
import torch

from deepfake.datasets.utterance import BONAFIDE, SPOOF, Utterance
from deepfake.errors import InputError
from deepfake.loading import splices as splices_module
from deepfake.loading.splices import Splices
from deepfake.metrics.localisation import frame_labels

RATE = 8000


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """Three bona fide tones of 100 Hz and three spoofed ones of 1 kHz, at levels a hundred times apart."""
    folder = tmp_path_factory.mktemp("tones")
    utterances = []
    for i in range(6):
        label = BONAFIDE if i < 3 else SPOOF
        tone = np.sin(2 * np.pi * (100 if label == BONAFIDE else 1000) * np.arange(RATE) / RATE)
        soundfile.write(folder / f"{i}.wav", tone * 0.5 / 10 ** (i % 3), RATE, subtype="FLOAT")
        utterances.append(Utterance(f"{i}", str(folder / f"{i}.wav"), label, "", "", "train", ""))
    return utterances


def splices(listed, **more):
    return Splices(listed, n_samples=RATE, sample_rate=RATE, **more)


def is_spoofed(waveform):
    """Whether a unit of 10 ms holds the tone of 1 kHz: its share of the power, far from the tone of 100 Hz."""
    frames = waveform.view(-1, RATE // 100)
    spectrum = torch.fft.rfft(frames * torch.hann_window(RATE // 100)).abs().square()
    return spectrum[:, 6:].sum(1) / spectrum.sum(1) > 0.5


def test_labels_agree_with_the_audio(listed):
    data = splices(listed, share=1.0)
    mixed = 0
    for seed in range(40):
        item = data[seed % 6, seed]
        agree = (item["spoofed"] == is_spoofed(item["waveform"])).float().mean()
        assert agree > 0.9  # all but units with an edge
        assert item["label"] == (SPOOF if item["spoofed"].any() else BONAFIDE)
        mixed += 0 < item["spoofed"].float().mean() < 1
    assert 15 < mixed < 38  # a third has its stretches from its own class


def test_a_stretch_has_the_level_of_what_it_replaces(listed):
    data = splices(listed, share=1.0)
    for seed in range(20):
        waveform = data[0, seed]["waveform"]  # a tone of amplitude 0.5, whatever is spliced into it
        assert waveform.view(10, -1).square().mean(1).sqrt().sub(0.5 / 2**0.5).abs().max() < 0.15


def test_some_seams_are_no_sign_of_spoof(listed):
    items = [splices(listed, share=1.0)[0, seed] for seed in range(60)]
    untouched = splices(listed, share=0.0)[0, None]["waveform"]
    innocent = [i for i in items if i["label"] == BONAFIDE and not torch.equal(i["waveform"], untouched)]
    assert 5 < len(innocent) < 30


def test_an_item_is_a_function_of_its_seed_and_in_scoring_always_the_same(listed):
    data = splices(listed)
    for key in ((2, 7), (4, None)):
        assert torch.equal(data[key]["waveform"], splices(listed)[key]["waveform"])
    assert not torch.equal(data[2, 7]["waveform"], data[2, 8]["waveform"])
    plain = splices(listed, share=0.0)[1, None]
    assert torch.equal(plain["waveform"], torch.from_numpy(soundfile.read(listed[1].path, dtype="float32")[0]))
    assert not plain["spoofed"].any() and splices(listed, share=0.0)[4, None]["spoofed"].all()


def test_known_stretches_are_heard_as_they_are(listed):
    known = {u.id: [(0.253, 0.5, "A01")] if u.label == SPOOF else [] for u in listed}
    data = Splices(listed, n_samples=RATE, sample_rate=RATE, segments=known)
    item = data[4, None]
    assert torch.equal(item["waveform"], torch.from_numpy(soundfile.read(listed[4].path, dtype="float32")[0]))
    expected = frame_labels([(0.253, 0.5)], resolution=0.01, duration=1.0) == 0
    assert item["spoofed"].tolist() == expected.tolist()
    whole = Splices(listed, n_samples=RATE, sample_rate=RATE, segments=known | {"4": [(0.5, math.inf, "A01")]})
    assert whole[4, None]["spoofed"].tolist() == [False] * 50 + [True] * 50
    crop = Splices(listed, n_samples=RATE // 4, sample_rate=RATE, segments=known)
    found = {(crop[4, seed]["label"], bool(crop[4, seed]["spoofed"].any())) for seed in range(30)}
    assert found == {(SPOOF, True), (BONAFIDE, False)}  # a crop beside the stretch is bona fide
    with pytest.raises(InputError, match="no line about their stretches, first 5"):
        Splices(listed, n_samples=RATE, sample_rate=RATE, segments={u.id: [] for u in listed[:5]})


def test_bad_input_is_said(listed, tmp_path):
    with pytest.raises(InputError, match=r"share=2"):
        splices(listed, share=2)
    broken = [*listed[:5], Utterance("x", str(tmp_path / "none.wav"), SPOOF, "", "", "train", "")]
    assert "none.wav" in Splices(broken, n_samples=RATE, sample_rate=RATE)[5, None]["error"]


def test_seven_in_ten_clips_get_one_or_two_stretches_two_thirds_of_the_other_class(listed, monkeypatch):
    data, clips, n_stretches = splices(listed), [], []

    def clip(index, n_samples, rng, *, random):
        clips.append(index)
        return torch.ones(RATE), torch.zeros(RATE, dtype=torch.bool)

    monkeypatch.setattr(data, "_clip", clip)
    from_others = {BONAFIDE: [], SPOOF: []}
    for seed in range(3000):
        clips.clear()
        data.item(seed % 6, seed)
        n_stretches.append(len(clips) - 1)
        label = BONAFIDE if seed % 6 < 3 else SPOOF
        from_others[label] += [(index < 3) != (label == BONAFIDE) for index in clips[1:]]
    assert set(n_stretches) == {0, 1, 2}
    shares = [np.mean(np.array(n_stretches) == n) for n in (0, 1, 2)]
    assert shares == pytest.approx([0.3, 0.35, 0.35], abs=0.04)
    assert [np.mean(of_class) for of_class in from_others.values()] == pytest.approx([2 / 3, 2 / 3], abs=0.04)


@pytest.mark.parametrize("longest", [0.4, 2.0])
def test_stretches_are_of_the_lengths_that_are_asked_for_and_at_most_four_fifths_of_the_clip(
    listed, monkeypatch, longest
):
    data = splices(listed, seconds=(0.2, longest))
    lengths, crossfade = [], splices_module.crossfade

    def faded(n_samples, start, end, fade):
        lengths.append(end - start)
        return crossfade(n_samples, start, end, fade)

    monkeypatch.setattr(splices_module, "crossfade", faded)
    clip, spoofed = torch.ones(RATE), torch.zeros(RATE, dtype=torch.bool)
    for seed in range(300):
        data._spliced(clip, spoofed, 0, np.random.default_rng(seed))
    most = min(longest, 0.8)
    assert min(lengths) == pytest.approx(0.2 * RATE, abs=0.02 * RATE) and max(lengths) <= most * RATE
    assert max(lengths) == pytest.approx(most * RATE, abs=0.02 * RATE)
    assert np.mean(lengths) == pytest.approx((0.2 + most) / 2 * RATE, rel=0.1)
