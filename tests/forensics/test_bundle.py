"""What a bundle holds, that its bytes depend on nothing else, and what it must not hold."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile

import numpy as np
import pytest
import soundfile

from deepfake.cli import main
from deepfake.errors import InputError
from deepfake.forensics import bundle as bundling
from deepfake.forensics import verify as verification
from deepfake.forensics.bundle import bundle


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def explained(tmp_path, monkeypatch):
    """A folder as an explanation leaves it, its report cut down to what a bundle reads of it."""
    monkeypatch.setattr(verification.schema, "check", lambda report: None)
    recording = tmp_path / "evidence" / "Größe 1.wav"
    recording.parent.mkdir()
    soundfile.write(recording, 0.1 * np.random.default_rng(0).standard_normal(4000), 16000)
    return fill(tmp_path / "out" / "Größe 1", recording)


def fill(folder, recording, order=1):
    (folder / "viz").mkdir(parents=True)
    file = {"name": recording.name, "path": str(recording), "sha256": sha256(recording.read_bytes())}
    values = io.BytesIO()
    np.save(values, np.arange(6.0))
    contents = {
        "report.json": json.dumps({"file": file}).encode(),
        "mel_saliency.npy": values.getvalue(),
        "viz/mel.png": bytes(range(256)),
    }
    for name in list(contents)[::order]:
        (folder / name).write_bytes(contents[name])
    return folder


def opened(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_all_files_are_there_with_their_sums(explained):
    path = bundle(explained)
    assert path == explained.parent / "Größe 1.zip"
    found = opened(path)
    manifest = json.loads(found.pop("manifest.json"))
    assert found == {
        name: (explained / name).read_bytes() for name in ("report.json", "mel_saliency.npy", "viz/mel.png")
    }
    assert manifest["files"] == [
        {"path": name, "bytes": len(found[name]), "sha256": sha256(found[name])} for name in sorted(found)
    ]
    assert manifest["left_out"] == []


def test_the_bytes_depend_on_the_contents_alone(explained, tmp_path):
    first = bundle(explained).read_bytes()
    other = fill(tmp_path / "elsewhere" / "x", tmp_path / "evidence" / "Größe 1.wav", order=-1)
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    assert bundle(other).read_bytes() == first
    assert bundle(other).read_bytes() == first  # over the one that is there
    (other / "viz" / "mel.png").write_bytes(b"x")
    assert bundle(other).read_bytes() != first
    with zipfile.ZipFile(explained.parent / "Größe 1.zip") as archive:
        assert {(e.date_time, e.create_system, e.external_attr >> 16) for e in archive.infolist()} == {
            ((1980, 1, 1, 0, 0, 0), 3, 0o100644)
        }
        assert archive.namelist() == ["mel_saliency.npy", "report.json", "viz/mel.png", "manifest.json"]


def test_audio_only_on_request(explained, tmp_path):
    recording = tmp_path / "evidence" / "Größe 1.wav"
    (explained / "copy.wav").write_bytes(recording.read_bytes())
    assert not any(name.endswith(".wav") for name in opened(bundle(explained)))
    found = opened(bundle(explained, include_audio=True))
    assert found["audio/Größe 1.wav"] == recording.read_bytes() and "copy.wav" not in found
    sums = {row["path"]: row["sha256"] for row in json.loads(found["manifest.json"])["files"]}
    assert sums["audio/Größe 1.wav"] == sha256(recording.read_bytes())


def test_a_bundle_that_was_unpacked_gives_the_same_bundle(explained, tmp_path):
    with_audio = bundle(explained, include_audio=True)
    again = tmp_path / "again"
    with zipfile.ZipFile(with_audio) as archive:
        archive.extractall(again)
    assert bundle(again, include_audio=True).read_bytes() == with_audio.read_bytes()
    assert bundle(again).read_bytes() == bundle(explained).read_bytes()


def test_no_link_is_followed_and_nothing_outside_gets_in(explained, tmp_path):
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "key.txt").write_text("a secret")
    (explained / "link.txt").symlink_to(secret / "key.txt")
    (explained / "viz" / "folder").symlink_to(secret)
    (explained / ".part").write_text("half")
    os.mkfifo(explained / "pipe")
    found = opened(bundle(explained))
    assert not any(b"a secret" in data for data in found.values())
    manifest = json.loads(found["manifest.json"])
    assert manifest["left_out"] == [".part", "link.txt", "pipe", "viz/folder"]
    assert len(manifest["files"]) == 3


def test_a_recording_that_changed_or_has_gone_is_not_packed(explained, tmp_path):
    recording = tmp_path / "evidence" / "Größe 1.wav"
    recording.write_bytes(recording.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="its SHA-256 is another"):
        bundle(explained, include_audio=True)
    recording.unlink()
    with pytest.raises(InputError, match="not there any more"):
        bundle(explained, include_audio=True)
    assert bundle(explained).is_file()
    assert [p.name for p in explained.parent.iterdir()] != [] and not list(explained.parent.glob(".*"))


def test_a_report_cannot_name_its_way_out(explained, tmp_path):
    report = json.loads((explained / "report.json").read_text())
    report["file"]["name"] = "../../x.wav"
    (explained / "report.json").write_text(json.dumps(report))
    with pytest.raises(InputError, match="a name without folders"):
        bundle(explained, include_audio=True)
    (explained / "report.json").rename(tmp_path / "r.json")
    (explained / "report.json").symlink_to(tmp_path / "r.json")
    with pytest.raises(InputError, match="is a link"):
        bundle(explained)


def test_a_file_that_changes_while_it_is_packed_leaves_nothing(explained, monkeypatch):
    monkeypatch.setattr(bundling, "_audio", lambda recording, path: {"audio/a.wav": explained / "viz" / "mel.png"})
    with pytest.raises(InputError, match="changed while it was packed"):
        bundle(explained, include_audio=True)
    assert [p.name for p in explained.parent.iterdir()] == [explained.name]


def test_the_command(explained, tmp_path, capsys):
    assert main(["bundle", str(explained)]) == 0
    assert capsys.readouterr().out.strip() == str(explained.parent / "Größe 1.zip")
    assert main(["bundle", str(explained), "--include-audio"]) == 0
    capsys.readouterr()
    for folder, message in ((tmp_path / "nowhere", "is not a folder"), (tmp_path / "evidence", "no such report")):
        assert main(["bundle", str(folder)]) == 1
        error = capsys.readouterr().err
        assert error.startswith("error: ") and message in error and error.count("\n") == 1
