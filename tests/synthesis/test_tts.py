"""Programs that speak, here one of our own that always says the same."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from deepfake.errors import InputError
from deepfake.synthesis.systems import systems
from deepfake.synthesis.tts import PROGRAMS, _text, piper_voice, read_texts, tts, version

TEXTS = ("one two three four five", "six seven eight nine ten")


@pytest.fixture
def program(tmp_path, monkeypatch, voice):
    """Installs `espeak-ng` and `flite` that write 1.5 s and log how they were called."""
    soundfile.write(tmp_path / "said.wav", np.pad(voice(5, 1.5, noise=0), 3000), 16000)
    for name in PROGRAMS:
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            "#!/bin/sh\n"
            '[ "$1" = --version ] && echo "speaker version 9.8.7 of 1999" && exit\n'
            f'echo "$@" >> {tmp_path}/called\n'
            "for last; do :; done\n"
            f'cp {tmp_path}/said.wav "$last"\n'
        )
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


@pytest.mark.parametrize("name", PROGRAMS)
def test_speech_stands_where_the_partner_speaks(program, voice, name):
    partner = voice(7, 1.4, noise=1e-5)
    made = tts(name, partner, TEXTS, np.random.default_rng(0))
    loud = np.flatnonzero(made)
    spoken = np.flatnonzero(np.abs(partner) > 0.02 * np.abs(partner).max())
    assert len(made) == len(partner)
    assert abs(loud[0] - spoken[0]) < 800 and abs(loud[-1] - spoken[-1]) < 1600
    assert np.array_equal(made, tts(name, partner, TEXTS, np.random.default_rng(0)))
    first, second, *_ = (program / "called").read_text().splitlines()
    assert first != second  # the second time at the rate that fits


def test_a_piper_voice_speaks_by_the_program_piper(program, voice):
    speaker = program / "bin" / "piper"
    speaker.write_text(
        f'#!/bin/sh\necho "$@" >> {program}/called\nfor last; do :; done\ncp {program}/said.wav "$last"\n'
    )
    speaker.chmod(0o755)
    file = program / "en.onnx"
    with pytest.raises(InputError, match=r"there is no .*en\.onnx: VOICE\.onnx with VOICE\.onnx\.json was expected"):
        piper_voice(file)
    file.write_bytes(b"weights")
    with pytest.raises(InputError, match=r"there is no .*en\.onnx\.json"):
        piper_voice(file)
    settings = program / "en.onnx.json"
    for wrong in ("{}", "text", '{"num_speakers": 0}'):
        settings.write_text(wrong)
        with pytest.raises(InputError, match="is not a Piper voice's settings"):
            piper_voice(file)
    settings.write_text('{"num_speakers": 4}')
    assert piper_voice(file) == "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
    partner = voice(7, 1.4, noise=1e-5)
    made = systems([], [str(file)])["P01"].spoof(partner, TEXTS, np.random.default_rng(0))
    spoken = np.flatnonzero(np.abs(partner) > 0.02 * np.abs(partner).max())
    assert len(made) == len(partner) and abs(np.flatnonzero(made)[0] - spoken[0]) < 800
    first, second = (program / "called").read_text().splitlines()
    assert f"-m {file} -s " in first and "--length-scale 1.0000 -f" in first and "--length-scale 1.0000" not in second
    speaker.unlink()
    with pytest.raises(InputError, match="needs the program piper, with its phonemes: pip install piper-tts"):
        piper_voice(file)


def test_version_and_failures(program, voice):
    assert version("flite") == "9.8.7"
    (program / "bin" / "flite").write_text("#!/bin/sh\necho no voice >&2\nexit 2\n")
    with pytest.raises(InputError, match="flite failed: no voice"):
        tts("flite", voice(1), TEXTS, np.random.default_rng(0))
    (program / "bin" / "flite").unlink()
    assert version("flite") is None
    soundfile.write(program / "said.wav", np.zeros(3000), 16000)
    with pytest.raises(InputError, match="produced silence"):
        tts("espeak-ng", voice(1), TEXTS, np.random.default_rng(0))


def test_a_text_is_about_as_long_as_asked_for():
    for seed in range(30):
        words = _text(TEXTS, 40, np.random.default_rng(seed))
        assert 40 <= len(words) < 48 and set(words.split()) <= set(" ".join(TEXTS).split())


def test_texts_of(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("One, two.\n\n ...\n  Drei Äpfel \n", encoding="utf-8")
    assert read_texts(path) == ("One, two.", "Drei Äpfel")
    path.write_text("\n")
    for bad, said in ((path, "no sentence"), (tmp_path / "none", "in UTF-8 was expected")):
        with pytest.raises(InputError, match=said):
            read_texts(bad)
