"""Embeddings: those of Resemblyzer itself, and what has too little speech."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from deepfake.audio import load
from deepfake.errors import InputError
from deepfake.speakers import embedding
from deepfake.speakers.embedding import voice

pytest.importorskip("resemblyzer", reason='needs Resemblyzer: pip install -e ".[speaker]"')


@pytest.fixture(scope="module")
def speech(shared):
    return shared / "data" / "LA" / "ASVspoof2019_LA_eval" / "flac"


def test_it_is_the_embedding_of_resemblyzer(speech):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import resemblyzer
    file = speech / "LA_E_1250838.flac"
    theirs = resemblyzer.VoiceEncoder("cpu", verbose=False)
    expected = theirs.embed_utterance(resemblyzer.preprocess_wav(load(file).numpy()))
    found = voice(file)
    np.testing.assert_allclose(found.embedding, expected, atol=1e-6)
    assert found.embedding.shape == (256,) and found.embedding.dtype == np.float32


def test_the_same_speaker_is_nearer_than_another_one(speech):
    one, same, other = (voice(speech / f"LA_E_{n}.flac").embedding for n in (1250838, 3298175, 8763461))
    assert (float(one @ same), float(one @ other)) == pytest.approx((0.8808, 0.4833), abs=1e-3)


@pytest.mark.parametrize("level", [0.0, 1e-5], ids=["silence", "next to silence"])
def test_without_speech_there_is_no_embedding(level):
    noise = level * np.random.default_rng(0).standard_normal(48_000)
    with pytest.raises(InputError, match=r"the recording: 0.0 s of speech, at least 1 s was expected"):
        voice((noise, 16_000))


def test_no_more_than_two_minutes_are_used(speech, monkeypatch):
    monkeypatch.setattr(embedding, "LONGEST_SECONDS", 1.5)
    assert voice(speech / "LA_E_1250838.flac").speech_seconds <= 1.5


def test_other_weights_are_refused(monkeypatch):
    monkeypatch.setattr(embedding, "WEIGHTS_SHA256", "0" * 64)
    embedding._encoder.cache_clear()
    with pytest.raises(InputError, match=r"the weights of Resemblyzer 0\.1\.4 were expected"):
        embedding._encoder()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(embedding, "import_module", lambda name: (_ for _ in ()).throw(ImportError("no such module")))
    with pytest.raises(InputError, match=r"speaker checks need Resemblyzer \(no such module\): pip install"):
        voice((np.zeros(16_000), 16_000))


def test_an_embedding_of_zeros_is_refused():
    with pytest.raises(InputError, match="no embedding, all zeros"):
        embedding.mean_of(np.zeros((2, 256), dtype=np.float32))
