"""A corpus in tar archives: read as its files are, whoever wrote it."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import pytest
import torch
from interrupted import train_until, train_without_report
from tiny import compose, tiny_run, write_audio

from deepfake.archive import member_of
from deepfake.audio import load
from deepfake.cli import main
from deepfake.datasets import asvspoof2019_la, shards
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import write_manifest
from deepfake.errors import InputError
from deepfake.loading.check import check
from deepfake.loading.pcm import _known

TARGET = {"_target_": "deepfake.datasets.shards.utterances"}


@pytest.fixture
def packed(tiny_la, tmp_path, capsys):
    """The tiny corpus in archives of about four recordings."""
    listed = [u for part in ("train", "dev", "eval") for u in asvspoof2019_la.utterances(part, root=str(tiny_la))]
    write_manifest(tmp_path / "all.csv", listed)
    output = tmp_path / "packed"
    assert (
        main(["make-shards", "--manifest", f"{tmp_path}/all.csv", "--output", str(output), "--megabytes", "0.06"]) == 0
    )
    assert capsys.readouterr().out == f"{output}\n"
    return output


def pack(path: Path, **files: bytes | str) -> Path:
    """An archive of files, whose names have `_` for the last dot."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entry = tarfile.TarInfo(".".join(name.rsplit("_", 1)))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def sound(tmp_path, seed=0):
    return write_audio(tmp_path / "sound.flac", spoof=False, seed=seed).read_bytes()


def test_recordings_and_their_metadata_come_back(packed, tiny_la):
    corpus = Corpus.of({**TARGET, "root": str(packed)})
    assert len([*packed.glob("train-*.tar")]) > 1
    for partition in ("train", "dev", "eval"):
        there, own = corpus.select(partition, 0), asvspoof2019_la.utterances(partition, root=str(tiny_la))
        facts = [(u.id, u.label, u.attack, u.speaker) for u in own]
        assert [(u.id, u.label, u.attack, u.speaker) for u in there] == facts
        for one, other in zip(there, own, strict=True):
            assert member_of(one.path).read() == Path(other.path).read_bytes()
            assert torch.equal(load(one.path), load(other.path))


def test_an_index_made_from_the_archives_is_the_one_that_was_written(packed):
    written = {p: shards.utterances(p, root=str(packed)) for p in ("train", "dev", "eval")}
    os.utime(packed / "index.csv", ns=(0, 0))  # older than the archives
    for partition, listed in written.items():
        assert shards.utterances(partition, root=str(packed)) == listed
    assert (packed / "index.csv").stat().st_mtime_ns > 0


def test_other_tools_can_unpack_it(packed):
    with tarfile.open(sorted(packed.glob("dev-*.tar"))[0]) as archive:
        names = archive.getnames()
        assert names[:2] == ["000000000.flac", "000000000.json"]
        first = json.load(archive.extractfile(names[1]))  # type: ignore[arg-type]
    assert first == {"id": "LA_D_1000000", "label": 1, "speaker": "LA_1000", "partition": "dev"}


def test_a_training_on_archives_is_the_one_on_files_and_resumes_exactly(packed, tiny_la, tmp_path):
    more = ("logger=none", "num_workers=2", "bonafide_share=0.3")
    settings = ("dataset=shards", f"dataset.root={packed}")
    train_without_report(tiny_run(tiny_la, tmp_path / "files", *more))
    train_until(tiny_run(tiny_la, tmp_path / "run", *settings, *more), epoch=1, step=1)
    train_without_report(compose(f"resume={tmp_path}/run"))
    files, archives = (torch.load(tmp_path / n / "detector.pt", weights_only=True) for n in ("files", "run"))
    assert all(torch.equal(value, archives["state_dict"][name]) for name, value in files["state_dict"].items())
    listed = (tmp_path / "run/manifests/train.csv").read_text()
    assert f"{packed}/train-000000.tar/000000000.flac#512+" in listed


def test_archives_of_webdataset_with_classes_and_json(tmp_path):
    clip = sound(tmp_path)
    root = tmp_path / "wds"
    pack(root / "train-000.tar", a_flac=clip, a_cls="1", b_flac=clip, b_cls="0\n", c_txt="not audio")
    pack(root / "val/000.tar", a_wav=clip, a_json='{"label": "spoof", "attack": "A07", "codec": "mp3", "n": [1]}')
    train, dev = (shards.utterances(p, root=str(root)) for p in ("train", "dev"))
    assert [(u.id, u.label) for u in train] == [("a", 1), ("b", 0)]
    assert [(u.id, u.label, u.attack, u.partition, dict(u.conditions)) for u in dev] == [
        ("a", 0, "A07", "dev", {"codec": "mp3"})
    ]
    assert load(dev[0].path).shape == (9600,)


def test_a_check_counts_what_is_in_the_archives(packed, capsys):
    assert check(Corpus.of({**TARGET, "root": str(packed)})) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [(row[1], row[3], row[5]) for row in rows] == [(p, "6", "6") for p in ("train", "dev", "eval")]


def test_decoded_samples_are_kept_for_as_long_as_the_archive_stays_as_it_is(packed):
    u = shards.utterances("train", root=str(packed))[0]
    found = (packed / "train-000000.tar").stat()
    assert _known(u.path) == [found.st_size, found.st_mtime_ns]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a_flac": b"x", "a_json": "[1]"}, r"0\.tar, a\.json is not metadata \(no object\): a JSON object or a label"),
        ({"a_flac": b"x", "a_cls": "7"}, "unknown key '7'"),
        ({"a_flac": b"x", "a_wav": b"x"}, r"0\.tar: a\.wav: one recording named a was expected"),
    ],
)
def test_metadata_that_cannot_be_used_are_named(tmp_path, files, sentence):
    pack(tmp_path / "0.tar", **files)
    with pytest.raises(InputError, match=sentence):
        shards.utterances("train", root=str(tmp_path))


def test_what_is_no_archive_is_named(tmp_path):
    with pytest.raises(InputError, match="a folder of tar archives was expected"):
        shards.utterances("train", root=str(tmp_path))
    (tmp_path / "0.tar").write_bytes(b"\x1f\x8b" + b"x" * 2000)
    with pytest.raises(InputError, match=r"0\.tar is not a whole tar archive without compression"):
        shards.utterances("train", root=str(tmp_path))


def test_a_truncated_or_missing_archive_is_an_error_of_its_recordings(tmp_path):
    path = pack(tmp_path / "train-0.tar", a_flac=sound(tmp_path), a_cls="1")
    (u,) = shards.utterances("train", root=str(tmp_path))
    os.truncate(path, 2000)
    with pytest.raises(InputError, match=r"train-0\.tar: [\d,]+ bytes or more were expected"):
        load(u.path)
    path.unlink()
    with pytest.raises(InputError, match=r"a\.flac#512\+\d+: no such file"):
        load(u.path)


def test_a_second_packing_is_refused(packed, tmp_path, capsys):
    again = ["make-shards", "--manifest", f"{tmp_path}/all.csv", "--output", str(packed)]
    assert main(again) == 1 and "holds archives already" in capsys.readouterr().err
    assert main([*again, "--megabytes", "0"]) == 1 and "a size above 0" in capsys.readouterr().err


def test_a_file_whose_name_only_looks_like_one_in_an_archive_is_read(tmp_path):
    path = tmp_path / "x.tar" / "a.wav#5+7"
    write_audio(tmp_path / "b.wav", spoof=False, seed=0)
    path.parent.mkdir()
    (tmp_path / "b.wav").rename(path)
    assert load(path).shape == (9600,)
