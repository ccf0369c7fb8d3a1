"""Two processes that train self-supervised front ends, of which parts are frozen or go unused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ranks import two_ranks
from small_detectors import SMALL, sizes

RANK = """
import sys
import torch
from omegaconf import OmegaConf
from tiny import tiny_run
from deepfake import run
from deepfake.datasets.corpus import Corpus
from deepfake.training.detection import Detection
from deepfake.training.train import begin

tiny_la, folder, *runs = sys.argv[1:]

def weights(self):
    return {name: tensor.clone() for name, tensor in self.detector.state_dict().items()}

def on_train_start(self):
    self.before = weights(self)

def on_train_end(self):
    with torch.no_grad():
        scores = self.detector.eval()(0.1 * torch.randn(3, 8000, generator=torch.Generator().manual_seed(0)))
    found = {"before": self.before, "after": weights(self), "scores": scores, "dev": torch.tensor(self.dev_scores[0])}
    torch.save(found, f"{folder}/{name}-{self.global_rank}.pt")

Detection.on_train_start, Detection.on_train_end = on_train_start, on_train_end
for given in runs:
    name, *overrides = given.split("|")
    config = OmegaConf.to_container(tiny_run(tiny_la, f"{folder}/{name}", *overrides), resolve=True)
    begin(config)
    task, setup = run._composed(config, Corpus.of(config["dataset"]))
    setup.trainer.fit(task, setup.datamodule)
"""
COMMON = ("trainer=ddp", "trainer.max_epochs=1", "batch_size=2", "optimizer.lr=1e-3", "logger=none")
RUNS = {
    "unused": (
        *("model=ssl_linear", "features=xlsr_300m", *sizes("xlsr_300m"), "features.checkpointing=true"),
        *("features.layers=[0,1]", "features.pool=gate", "features.freeze=cnn"),
    ),
    "frozen": (  # with batch norm
        *("model=mhfa", *SMALL["mhfa"], "features=wavlm_base_plus_layers", *sizes("wavlm_base_plus_layers")),
        *("features.freeze=first_1", "batch_seconds=1.0"),
    ),
}
LAYERS = "features.base.encoder.transformer.layers."


@pytest.fixture(scope="module")
def trained(tiny_la: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    two_ranks(RANK, str(tiny_la), str(folder), *("|".join((name, *COMMON, *more)) for name, more in RUNS.items()))
    return folder


@pytest.mark.parametrize(("name", "kept", "learnt"), [("unused", f"{LAYERS}1.", f"{LAYERS}0."),
                                                      ("frozen", f"{LAYERS}0.", f"{LAYERS}1.")])  # fmt: skip
def test_both_ranks_end_with_the_same_weights_and_scores(trained: Path, name: str, kept: str, learnt: str) -> None:
    first, second = (torch.load(trained / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
    before, after = first["before"], first["after"]
    assert [key for key in after if not torch.equal(after[key], second["after"][key])] == []
    assert torch.equal(first["scores"], second["scores"]) and len(set(first["scores"].tolist())) == 3
    assert torch.equal(first["dev"], second["dev"]) and len(first["dev"]) == 12
    moved = {key for key in after if not torch.equal(before[key], after[key])}
    assert not [key for key in moved if key.startswith(kept)]
    assert len([key for key in moved if key.startswith(learnt)]) > 8
    checkpoint = torch.load(trained / name / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3  # 12 utterances, 2 processes, 2 each
