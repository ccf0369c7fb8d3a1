"""Weights that are split over two CPU processes: the same training, whole files, exact resumption."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from ranks import two_ranks
from tiny import compose, tiny_run
from torch import nn

from deepfake import run
from deepfake.detector import Detector
from deepfake.errors import InputError
from deepfake.training.sharding import FullySharded, require_shardable

SMALL = ["features=ssl", "features.weights=random", "features.freeze=cnn", "model=ssl_linear", "optimizer.lr=1e-4"]
SMALL += [f"features.{key}" for key in ("wavlm=false", "norm=layer", "conv_bias=true", "conv_channels=4")]
SMALL += [f"features.{key}" for key in ("dim=32", "n_layers=2", "n_heads=2", "ffn=8")]

RANK = """
import sys
from pathlib import Path
from interrupted import train_until, train_without_report
from tiny import compose, tiny_run
from deepfake.training.sharding import FullySharded

tiny_la, folder, *overrides = sys.argv[1:]
shard = FullySharded.shard

def noted(self, detector, loss):
    shard(self, detector, loss)
    held = sum(p.to_local().numel() for p in detector.parameters())
    Path(folder, f"held-{self.global_rank}").write_text(f"{held} {sum(p.numel() for p in detector.parameters())}")

FullySharded.shard = noted
for name in ("ddp", "fsdp"):
    train_without_report(tiny_run(tiny_la, f"{folder}/{name}", f"trainer={name}", *overrides))
train_until(tiny_run(tiny_la, f"{folder}/resumed", "trainer=fsdp", *overrides), epoch=1, step=1)
train_without_report(compose(f"resume={folder}/resumed"))
"""


def state(folder, name="detector.pt"):
    return torch.load(folder / name, weights_only=True)["state_dict"]


def test_split_weights_train_as_whole_ones_and_resume_exactly(tiny_la, tmp_path):
    overrides = ["trainer.accelerator=cpu", "batch_size=2", "augment=[gain]", *SMALL]
    two_ranks(RANK, str(tiny_la), str(tmp_path), *overrides)

    held, whole = zip(*((map(int, (tmp_path / f"held-{rank}").read_text().split())) for rank in "01"), strict=True)
    assert whole[0] == whole[1] == sum(held) and max(held) < 0.6 * whole[0]
    ddp, fsdp, resumed = (state(tmp_path / name) for name in ("ddp", "fsdp", "resumed"))
    assert ddp.keys() == fsdp.keys()
    for name, value in ddp.items():
        assert torch.allclose(fsdp[name], value, rtol=0, atol=2e-5), name
        assert torch.equal(resumed[name], fsdp[name]), name
    ddp, fsdp = (state(tmp_path / name, "checkpoints/last.ckpt") for name in ("ddp", "fsdp"))
    assert {k: v.shape for k, v in ddp.items()} == {k: v.shape for k, v in fsdp.items()}
    assert torch.isfinite(Detector.load(tmp_path / "fsdp")(torch.zeros(1, 8000))).all()


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["task=localisation", "model=frame_cnn"], "trainer=fsdp, Localisation: task=detection was expected"),
        (["task.compile=true"], "trainer=fsdp, task.compile=true: task.compile=false"),
        (["callbacks=snapshot_averaging"], "trainer=fsdp, averaged weights: callbacks=default"),
        (["callbacks=best_averaging"], "trainer=fsdp, averaged weights: callbacks=default"),
    ],
)
def test_what_works_on_whole_weights_is_refused_before_a_process_is_started(tiny_la, tmp_path, overrides, sentence):
    with pytest.raises(InputError, match=f"^{sentence}"):
        run.train(tiny_run(tiny_la, tmp_path / "run", "trainer=fsdp", *overrides))
    assert not (tmp_path / "run").exists()


def test_a_weight_that_is_one_number_is_refused():
    task = SimpleNamespace(shardable=True, detector=nn.ParameterDict({"gamma": nn.Parameter(torch.zeros(()))}))
    trainer = SimpleNamespace(strategy=FullySharded(), callbacks=[])
    with pytest.raises(InputError, match=r"^trainer=fsdp, gamma: weights with an axis to split were expected"):
        require_shardable(task, SimpleNamespace(trainer=trainer, config={"task": {}}))  # type: ignore[arg-type]


def test_any_number_of_devices_and_nodes_composes():
    config = compose("trainer=fsdp", "trainer.devices=8", "trainer.num_nodes=4", "trainer.precision=bf16-mixed")
    assert config.trainer.strategy == {"_target_": "deepfake.training.sharding.FullySharded"}
    assert (config.trainer.devices, config.trainer.num_nodes) == (8, 4)
    assert config.trainer.use_distributed_sampler is False
