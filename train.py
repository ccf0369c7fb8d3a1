"""Train a detector: `python train.py [model= features= dataset= ...]`; see `--help` and README.md."""

import hydra
from omegaconf import DictConfig

from deepfake import CONF, run


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def main(cfg: DictConfig) -> float | None:
    return run.launch(run.train, cfg)


if __name__ == "__main__":
    run.script("train", main)
