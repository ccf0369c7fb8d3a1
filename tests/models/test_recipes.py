"""The recipes on self-supervised networks: what they train is what was published."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from tiny import compose

from deepfake.detector import Detector

RECIPES = {  # learning rate, weight decay, batch, epochs, RawBoost, samples, millions of parameters
    "xlsr_aasist_la": (1e-6, 1e-4, 14, 100, 5, 64_600, 315.9),
    "xlsr_sls_la": (1e-6, 1e-4, 5, 50, 3, 64_600, 338.8),
    "xlsr_nes2net_la": (2.5e-7, 1e-4, 12, 100, 4, 64_600, 316.0),
    "wavlm_mhfa_asvspoof5": (1e-4, 1e-7, 32, 5, None, 48_080, 95.7),
}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_published_one_and_trains_all_weights(name):
    cfg = compose(f"experiment={name}", "dataset.root=/x", "run_dir=/x", "features.weights=random")
    with torch.device("meta"):
        whole = {key: cfg[key] for key in ("features", "model", "sample_rate", "seconds", "score")}
        detector = Detector(OmegaConf.to_container(OmegaConf.create(whole), resolve=True))  # type: ignore[arg-type]
    algo = cfg.augment.rawboost.algo if cfg.augment else None
    training = (cfg.optimizer.lr, cfg.optimizer.weight_decay, cfg.batch_size, cfg.trainer.max_epochs, algo)
    millions = sum(p.numel() for p in detector.parameters()) / 1e6
    assert (*training, detector.n_samples) == RECIPES[name][:-1] and millions == pytest.approx(
        RECIPES[name][-1], abs=0.1
    )
    frozen = {n.split(".")[0] + n.split(".")[-2] for n, p in detector.named_parameters() if not p.requires_grad}
    assert frozen <= {"modelbn1", "featureslayer_norm"}  # which no output depends on
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=cfg.optimizer.lr)
    schedule = instantiate(cfg.scheduler)(optimizer, **({"T_max": 20} if "eta_min" in cfg.scheduler else {}))
    for _ in range(20):
        optimizer.step()
        schedule.step()
    last = {"wavlm_mhfa_asvspoof5": 1e-6}.get(name, cfg.optimizer.lr)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(last)
    on_xlsr = name != "wavlm_mhfa_asvspoof5"
    assert cfg.callbacks.get("early_stopping") is None
    assert detector.features.scale_waveform is False
    if on_xlsr:
        assert cfg.loss.class_weights == [0.1, 0.9] and cfg.score == "bonafide_logit"
