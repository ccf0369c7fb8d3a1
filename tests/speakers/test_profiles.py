"""Profiles at rest: encrypted, authenticated, told apart, deleted; the key that they need."""

from __future__ import annotations

import json
import os
import shutil
import stat
from datetime import datetime, timedelta
from unittest.mock import Mock

import numpy as np
import pytest

from deepfake.errors import InputError
from deepfake.speakers import key
from deepfake.speakers.profiles import Profile, Profiles

KEY = "00112233445566778899aabbccddeeff" * 2


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv(key.VARIABLE, raising=False)
    return tmp_path


def profile(name="Amélie", seed=0):
    embedding = np.random.default_rng(seed).random(256).astype(np.float32)
    return Profile.new(name, embedding, n_samples=3, speech_seconds=8.25)


def only_file(folder):
    (file,) = folder.iterdir()
    return file


def test_what_is_stored_comes_back_to_the_last_bit():
    made = profile()
    Profiles().add(made)
    back = Profiles().get("Amélie")
    assert (back.name, back.n_samples, back.speech_seconds, back.created) == ("Amélie", 3, 8.25, made.created)
    assert back.embedding.tobytes() == made.embedding.tobytes() and back.embedding.dtype == np.float32


def test_a_name_may_be_any_unicode_and_its_forms_are_one():
    names = ["Ame\u0301lie", "李雷", "😀", "a/b\\c", "..", "نور", "x" * 500]
    for seed, name in enumerate(names):
        Profiles().add(profile(name, seed))
    assert [p.name for p in Profiles()] == sorted(["Am\u00e9lie", *names[1:]])
    assert Profiles().get("Am\u00e9lie").embedding.tobytes() == profile(seed=0).embedding.tobytes()
    for bad in ("", " ", "a\nb", "\ud800"):
        with pytest.raises(InputError, match="a name in one line of Unicode was expected"):
            profile(bad)


def test_a_file_shows_neither_name_nor_embedding_and_is_new_at_every_writing(monkeypatch):
    monkeypatch.setenv(key.VARIABLE, KEY)
    contents, made = [], profile()
    for _ in range(2):
        profiles = Profiles()
        profiles.add(made)
        file = only_file(profiles.folder)
        assert file.name == "4b42cfe7bf3b67b72631db9c3130100f.profile"  # by HMAC-SHA256
        contents.append(file.read_bytes())
        profiles.delete("Amélie")
    plain = "Amélie".encode()
    assert all(plain not in content and made.embedding.tobytes()[:8] not in content for content in contents)
    assert contents[0][:12] != contents[1][:12] and contents[0][12:] != contents[1][12:]
    assert stat.S_IMODE(profiles.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("at", [0, 11, 12, 40, -1], ids=["nonce", "its end", "header", "text", "tag"])
def test_any_changed_byte_is_noticed(at):
    profiles = Profiles()
    profiles.add(profile())
    content = bytearray((file := only_file(profiles.folder)).read_bytes())
    content[at] ^= 1
    file.write_bytes(content)
    for read in (lambda: profiles.get("Amélie"), lambda: list(profiles), lambda: profiles.get("nobody")):
        with pytest.raises(InputError, match=r"the key is another one, or the file was changed"):
            read()
    file.write_bytes(content[:5])
    with pytest.raises(InputError, match=r"the file was changed"):
        profiles.get("Amélie")
    profiles.delete("Amélie")
    assert not list(profiles.folder.iterdir())


def test_a_file_under_the_name_of_another_is_refused():
    profiles = Profiles()
    profiles.add(profile("one"))
    first = only_file(profiles.folder)
    profiles.add(profile("two", 1))
    (second,) = {*profiles.folder.iterdir()} - {first}
    shutil.copy(second, first)
    with pytest.raises(InputError, match="the file was changed"):
        profiles.get("one")
    assert profiles.get("two").name == "two"


def test_another_key_is_told_apart_from_nobody_enrolled(monkeypatch):
    with pytest.raises(InputError, match="Joe is not enrolled, nobody is"):
        Profiles().get("Joe")
    Profiles().add(profile())
    with pytest.raises(InputError, match="Joe is not enrolled: one of the 1 speakers"):
        Profiles().get("Joe")
    monkeypatch.setenv(key.VARIABLE, KEY)
    other = Profiles()
    for act in (lambda: other.get("Amélie"), lambda: other.delete("Amélie"), lambda: other.add(profile("Joe"))):
        with pytest.raises(InputError, match="the key is another one"):
            act()
    monkeypatch.delenv(key.VARIABLE)
    assert Profiles().get("Amélie").name == "Amélie"


def test_profiles_without_their_key_are_refused(home):
    Profiles().add(profile())
    key.key_file().unlink()
    with pytest.raises(InputError, match=r"speaker.key: the key of the 1 profiles in .* was expected"):
        Profiles()
    assert not key.key_file().exists()


def test_deleted_means_gone(home):
    profiles = Profiles()
    profiles.add(profile())
    left = profiles.folder / f".{only_file(profiles.folder).name}.123.part"
    left.write_bytes(b"half")
    profiles.delete("Ame\u0301lie")
    assert not list(profiles.folder.iterdir()) and not list(Profiles())
    with pytest.raises(InputError, match="Amélie is not enrolled"):
        profiles.delete("Amélie")


def test_a_profile_that_has_expired_matches_nobody_and_is_deleted(home, monkeypatch, caplog):
    made = profile().kept(days=2, purpose="a test")
    assert made.expires is not None
    assert datetime.fromisoformat(made.expires) - datetime.fromisoformat(made.created) == timedelta(days=2)
    profiles = Profiles()
    for seed, one in enumerate([made, profile("Bob", 1).kept(days=3), profile("Cy", 2)]):
        profiles.add(one)
        assert len(list(profiles.folder.iterdir())) == seed + 1
    assert (profiles.get("Amélie").expires, profiles.get("Amélie").purpose) == (made.expires, "a test")
    assert (profiles.get("Cy").expires, profiles.get("Cy").purpose) == (None, "")
    later = datetime.fromisoformat(made.expires)
    monkeypatch.setattr("deepfake.speakers.profiles._now", lambda: later)
    assert [one.name for one in profiles] == ["Bob", "Cy"] and len(list(profiles.folder.iterdir())) == 2
    monkeypatch.setattr("deepfake.speakers.profiles._now", lambda: later + timedelta(days=1))
    monkeypatch.setattr(Profiles, "_erase", fail := Mock(side_effect=PermissionError(1, "not permitted")))
    assert [one.name for one in profiles] == ["Cy"] and fail.called and "cannot be deleted" in caplog.text
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setattr("deepfake.speakers.profiles._now", lambda: later + timedelta(days=1))
    with pytest.raises(InputError, match="Bob is not enrolled any more: the profile has expired"):
        profiles.get("Bob")
    assert len(list(profiles.folder.iterdir())) == 1
    profiles.add(profile("Bob", 1))  # anew


@pytest.mark.parametrize("days", [0, -1, float("nan"), 40_000])
def test_a_time_that_is_none_is_refused(days):
    with pytest.raises(InputError, match=r"expires=.*: days, more than 0 and at most 36500"):
        profile().kept(days=days)


def test_a_profile_of_before_there_were_ends_is_read():
    profiles, made = Profiles(), profile()
    profiles.add(made)
    path = only_file(profiles.folder)
    header = {"name": "Amélie", "n_samples": 3, "speech_seconds": 8.25, "created": made.created}
    text = json.dumps(header).encode()
    plain = len(text).to_bytes(4, "little") + text + made.embedding.tobytes()
    path.write_bytes(bytes(12) + profiles._cipher().encrypt(bytes(12), plain, f"{path.stem} 1".encode()))
    assert profiles.get("Amélie").expires is None and not profiles.get("Amélie").ended


def test_nobody_is_replaced_silently():
    Profiles().add(profile())
    with pytest.raises(InputError, match="Amélie is enrolled already"):
        Profiles().add(profile(seed=1))
    assert Profiles().get("Amélie").embedding.tobytes() == profile().embedding.tobytes()


def test_the_key_file_is_for_its_owner_alone(home):
    assert key.read_key() is None
    made = key.make_key(key.profile_folder())
    file = home / "config" / "deepfake" / "speaker.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and bytes.fromhex(file.read_text().strip()) == made
    assert len(made) == 32 and key.make_key(key.profile_folder()) == made  # one that is there stays
    assert [path.name for path in file.parent.iterdir()] == ["speaker.key"]
    for mode in (0o640, 0o604):
        file.chmod(mode)
        with pytest.raises(InputError, match=rf"mode 0600 was expected, others can read this key \(0{mode:o}\)"):
            Profiles()


def test_the_key_is_never_beside_the_profiles(home, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", os.environ["XDG_CONFIG_HOME"])
    with pytest.raises(InputError, match="another place than that of the profiles"):
        Profiles().add(profile())
    assert not (home / "config").exists()


def test_a_key_of_another_form_is_refused_and_not_repeated(monkeypatch):
    monkeypatch.setenv(key.VARIABLE, "secret")
    with pytest.raises(InputError, match="DEEPFAKE_SPEAKER_KEY: 64 hexadecimal digits") as refused:
        Profiles()
    assert "secret" not in str(refused.value)
