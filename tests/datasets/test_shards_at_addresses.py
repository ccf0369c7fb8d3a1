"""Archives in an object store or on a web server: read as those in a folder are, by one request a recording."""

from __future__ import annotations

import csv
import json
import os
import sys
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from drawing import blank_figures
from fsspec.implementations.memory import MemoryFileSystem
from interrupted import train_until, train_without_report, with_any_workers
from range_server import served
from small_detectors import small
from tiny import compose, tiny_run

from deepfake import CONF, address, archive, commandline, run
from deepfake.archive import member_of
from deepfake.audio import load, load_clip
from deepfake.cli import main
from deepfake.datasets import asvspoof2019_la, manifest, shards
from deepfake.datasets.corpus import Corpus
from deepfake.datasets.utterance import Utterance, disambiguated, missing_files, present, write_manifest
from deepfake.errors import InputError
from deepfake.loading.check import check
from deepfake.loading.pcm import _known, pcm

TARGET = {"_target_": "deepfake.datasets.shards.utterances"}


@pytest.fixture(scope="module")
def packed(tiny_la, tmp_path_factory):
    """The tiny corpus in archives of about four recordings."""
    listed = [u for part in ("train", "dev", "eval") for u in asvspoof2019_la.utterances(part, root=str(tiny_la))]
    output = tmp_path_factory.mktemp("packed")
    shards.write_shards(listed, output, megabytes=0.06)
    return output


@pytest.fixture
def server(packed, monkeypatch):
    monkeypatch.setattr(address, "PAUSES", (0.0, 0.0))
    archive._fetched.cache_clear()
    with served(packed) as server:
        yield server


def corpus(root):
    return Corpus.of({**TARGET, "root": str(root)})


def member(utterance):
    """What its path names."""
    found = member_of(utterance.path)
    assert found is not None
    return found


def request_of(utterance):
    """What the server is asked for by its recording, as `refusals` have it."""
    archive, offset, size = member(utterance)
    return f"{Path(archive).name} bytes={offset}-{offset + size - 1}"


def test_predict_takes_them_from_a_manifest(packed, server, tmp_path, capsys):
    small("cnn", "linear").save(tmp_path / "detector.pt")
    rows = {}
    for root in (server.address, packed):
        u = corpus(root).select("eval", 0)[0]
        (tmp_path / "some.csv").write_text(f"path,label\n{u.path},1\n")
        arguments = ["--run", str(tmp_path), "--manifest", str(tmp_path / "some.csv"), "--device", "cpu"]
        assert main(["predict", *arguments, "--format", "json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row.pop("file") == u.path
        rows[root] = row
    assert rows[server.address] == rows[packed] and "score" in rows[packed]


def test_recordings_are_those_of_the_folder_by_one_request_each(packed, server):
    there, own = (corpus(root).select("train", 0) for root in (server.address, packed))
    archives = sorted(path.name for path in packed.glob("train-*.tar"))
    assert len(archives) > 1
    assert server.counts() == {"index.csv": 1, **dict.fromkeys(archives, 1)}
    for one, other in zip(there, own, strict=True):
        assert one.path == other.path.replace(str(packed), server.address)
        assert (one.id, one.label, one.attack, one.speaker, one.weight) == (
            other.id, other.label, other.attack, other.speaker, other.weight
        )  # fmt: skip
        crops = [load_clip(u.path, n_samples=5000, rng=np.random.default_rng(1)) for u in (one, other)]
        assert torch.equal(*crops) and torch.equal(load(one.path), load(other.path))
    assert server.asked[0] == f"GET {archives[0]} bytes=512-{512 + member(own[0]).size - 1}"
    assert len(server.asked) == len(own)


@with_any_workers
def test_a_training_is_that_on_the_folder_and_resumes_exactly(packed, server, tmp_path, workers):
    more = ("dataset=shards", "logger=none", f"num_workers={workers}", "bonafide_share=0.3", "augment=gain")
    train_without_report(tiny_run(packed, tmp_path / "own", *more))
    other = [*more, f"dataset.root={server.address}/"]
    train_until(tiny_run(packed, tmp_path / "run", *other), epoch=1, step=1)
    train_without_report(compose(f"resume={tmp_path}/run"))
    own, there = (torch.load(tmp_path / n / "detector.pt", weights_only=True) for n in ("own", "run"))
    assert all(torch.equal(value, there["state_dict"][name]) for name, value in own["state_dict"].items())
    listed = (tmp_path / "run/manifests/train.csv").read_text()
    assert f",{server.address}/train-000000.tar/000000000.flac#512+" in listed
    assert listed.replace(server.address, str(packed)) == (tmp_path / "own/manifests/train.csv").read_text()
    assert f"root: {server.address}\n" in (tmp_path / "run/config.yaml").read_text()


def test_an_answer_that_does_not_come_is_asked_for_again(server):
    first = corpus(server.address).select("train", 0)[0].path
    name = "train-000000.tar"
    server.counts()
    server.refusals[name] = [503, 500]
    assert load(first).shape == (9600,)
    assert server.counts() == {name: 3}
    archive._fetched.cache_clear()
    server.refusals[name] = [503] * 3
    with pytest.raises(InputError, match=rf"^{server.address}/{name}: could not be read in 3 tries \(503, .*=RUN$"):
        load(first)
    assert server.counts() == {name: 3}
    server.refusals[name] = [403]  # asking again would not help
    with pytest.raises(InputError, match=r"train-000000\.tar: could not be read \(403, "):
        load(first)
    assert server.counts() == {name: 1}


def test_a_store_that_hangs_is_waited_for_with_an_end(server, monkeypatch):
    first = corpus(server.address).select("train", 0)[0].path
    monkeypatch.setattr(address, "TIMEOUT_SECONDS", 0.05)
    server.refusals["train-000000.tar"] = [0, 0, 0]
    with pytest.raises(InputError, match=r"could not be read in 3 tries \(FSTimeoutError\)"):
        load(first)


def test_an_evaluation_goes_on_without_the_recordings_that_cannot_be_read(run_folder, server, tmp_path):
    listed = corpus(server.address).select("eval", 0)
    server.refusals[request_of(listed[5])] = [503] * 3
    settings = ("dataset=shards", f"dataset.root={server.address}", "++dataset.on_bad_audio=skip", "bootstrap.n=0")
    with blank_figures():
        metrics = run.evaluate(
            compose(f"run={run_folder}", f"output={tmp_path}/out", "num_workers=2", *settings, config="evaluate")
        )
    assert metrics["n_bonafide"] + metrics["n_spoof"] == 11
    (row,) = csv.DictReader((tmp_path / "out/skipped.csv").open())
    assert (row["utterance"], row["path"]) == (listed[5].id, listed[5].path)
    assert "could not be read in 3 tries (503, " in row["error"]


def test_a_training_that_loses_its_store_ends_with_a_sentence(packed, server, tmp_path):
    settings = ("dataset=shards", f"dataset.root={server.address}", "logger=none")
    server.refusals[request_of(corpus(packed).select("dev", 0)[0])] = [503] * 3
    with pytest.raises(InputError, match=r"dev-000000.tar: could not be read in 3 tries .*resume=RUN"):
        train_without_report(tiny_run(packed, tmp_path / "run", *settings))


def test_what_is_missing_or_cut_short_is_noticed_by_a_byte_of_each_archive(packed, server, tmp_path):
    listed = corpus(server.address).select("train", 0)
    archives = list(dict.fromkeys(member(u).archive for u in listed))
    gone, short = (packed / Path(archive).name for archive in archives[:2])
    moved, whole = gone.rename(tmp_path / gone.name), short.read_bytes()
    try:
        short.write_bytes(whole[:1000])
        server.counts()
        assert {member(u).archive for u in missing_files(listed)} == {*archives[:2]}
        assert sum(server.counts().values()) <= len(archives) + 2
        with pytest.raises(InputError, match=r"train-000000.tar/000000000.flac#512\+\d+ is missing \(\d+ of the 12 "):
            present(listed, "shards")
        cut = next(u for u in listed if member(u).archive == archives[1] and member(u).offset > 1000)
        with pytest.raises(InputError, match=r"train-000001.tar: [\d,]+ bytes or more were expected: get the archive"):
            load(cut.path)
        with pytest.raises(InputError, match=r"train-000000.tar/000000000.flac#512\+\d+: no such file"):
            load(listed[0].path)
    finally:
        moved.rename(gone)
        short.write_bytes(whole)


def test_a_server_that_sends_no_ranges_is_named(server):
    server.ranges = False
    with pytest.raises(InputError, match=r"\.tar: a server that sends ranges was expected, this one sends whole files"):
        corpus(server.address).select("train", 0)


def test_a_check_asks_for_archives_and_not_for_recordings(packed, server, capsys):
    assert check(corpus(server.address)) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    assert [(row[1], row[3], row[5], row[7]) for row in rows] == [(p, "6", "6", "-") for p in ("train", "dev", "eval")]
    assert server.counts() == {"index.csv": 3, **{path.name: 1 for path in packed.glob("*.tar")}}


def test_decoded_samples_are_kept_for_as_long_as_the_archive_stays_as_it_is(packed, server):
    u = shards.utterances("train", root=server.address)[0]
    path = packed / "train-000000.tar"
    os.utime(path, (0, 0))
    assert _known(u.path) == [path.stat().st_size, "Thu, 01 Jan 1970 00:00:00 GMT"]
    os.utime(path)
    assert _known(u.path) != [path.stat().st_size, "Thu, 01 Jan 1970 00:00:00 GMT"]
    fsspec.filesystem("memory").pipe("/bucket/train-0.tar", b"abc")
    with pytest.raises(InputError, match=r"cache=true: memory://bucket/train-0.tar: a size and an ETag or a time of"):
        _known("memory://bucket/train-0.tar/a.flac#0+3")
    with pytest.raises(InputError, match=r"memory://bucket/other.tar: not found"):
        _known("memory://bucket/other.tar/a.flac#0+3")


def test_each_archive_is_asked_once_whether_it_is_still_the_same(packed, server, tmp_path):
    files = [u.path for u in shards.utterances("train", root=server.address)]
    server.counts()
    pcm(tmp_path / "a.pcm", files, 16000, lambda: [None] * len(files))
    assert server.counts() == {path.name: 1 for path in packed.glob("train-*.tar")}


def test_any_store_of_fsspec_is_read_and_a_manifest_of_it_comes_back(packed, tmp_path):
    store = fsspec.filesystem("memory")
    store.pipe({f"/bucket/corpus/{path.name}": path.read_bytes() for path in packed.iterdir()})
    listed, own = (corpus(root).select("dev", 0) for root in ("memory://bucket/corpus/", packed))
    assert [u.path for u in listed] == [u.path.replace(str(packed), "memory://bucket/corpus") for u in own]
    assert all(torch.equal(load(u.path), load(v.path)) for u, v in zip(listed, own, strict=True))
    write_manifest(tmp_path / "dev.csv", listed)
    assert [(u.id, u.path) for u in manifest.rows(tmp_path / "dev.csv")] == [(u.id, u.path) for u in listed]
    copied = tmp_path / "copied"  # from store to folder
    assert shards.write_shards(listed, copied, megabytes=1000) == 1
    assert len(corpus(copied).select("dev", 0)) == 12


def test_names_that_collide_become_the_ids_that_they_are_in_a_folder(tmp_path):
    def ids(root):
        paths = [f"{root}/{archive}.tar/a.flac#512+9" for archive in ("one", "two")]
        return [u.id for u in disambiguated([Utterance("a", path, 1) for path in paths])]

    assert ids(tmp_path) == ids("s3://bucket/corpus") == ["one.tar-a", "two.tar-a"]


def test_a_root_without_an_index_is_named(server, packed):
    with pytest.raises(InputError, match=rf"^{server.address}/none/index.csv: no such manifest: `deepfake make-sh"):
        corpus(f"{server.address}/none").select("train", 0)


def test_the_package_of_a_store_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"^s3://bucket needs the package s3fs: pip install s3fs$"):
        corpus("s3://bucket/corpus").select("train", 0)
    with pytest.raises(InputError, match=r"^nostore://bucket: an address of a store that fsspec knows was expected"):
        corpus("nostore://bucket/corpus").select("train", 0)


@pytest.mark.parametrize(
    "root",
    [
        "https://me:SECRET@host/corpus",
        "https://SECRET@host/corpus",
        "s3://me:SECRET@bucket/corpus",
        "https://host/corpus?sig=SECRET",
        "simplecache::s3://bucket/SECRET",
    ],
)
def test_addresses_with_secrets_are_refused_and_not_repeated(root, tmp_path):
    sentence = r"root=\w+:.*an address without user, password, query string and :: was expected"
    with pytest.raises(InputError, match=sentence) as caught:
        run.train(tiny_run(tmp_path, tmp_path / "run", "dataset=shards", f"dataset.root='{root}'"))
    assert "SECRET" not in str(caught.value) and not (tmp_path / "run").exists()
    with pytest.raises(InputError, match=sentence) as caught:  # before a sweep writes its overrides
        commandline.refusal(commandline.quote_paths(["-m", f"++dataset.root={root}"]), CONF)
    assert "SECRET" not in str(caught.value)
    (tmp_path / "a.csv").write_text(f"path,label\n{root}/a.tar/b.flac#0+1,1\n")
    with pytest.raises(InputError, match=r"a\.csv, line 2: path=\w+:.*an address without") as caught:
        manifest.rows(tmp_path / "a.csv")
    assert "SECRET" not in str(caught.value)


def test_a_container_of_an_account_is_no_password():
    assert address.public("abfs://container@account.dfs/corpus", "root") == "abfs://container@account.dfs/corpus"


def test_a_range_behind_the_end_is_empty_in_any_words(monkeypatch):
    def refuse(*_, **__):  # as s3fs words it
        raise OSError(22, "The requested range is not satisfiable, Request ID: 7, HTTP Status code: 416")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    assert address.read("memory://bucket/a", 5, 6) == b""


def test_signatures_of_where_a_server_redirects_to_are_not_repeated(monkeypatch):
    def refuse(*_, **__):
        raise OSError("403, url='https://elsewhere/x?X-Signature=SECRET&a=b'")

    monkeypatch.setattr(address, "PAUSES", ())
    monkeypatch.setattr(MemoryFileSystem, "cat_file", refuse)
    with pytest.raises(InputError, match=r"\(403, url='https://elsewhere/x\?\.\.\.'\)"):
        address.read("memory://bucket/a", 0, 1)
