"""Explain a verdict, file by file: `python explain.py run=RUN input=FILE_OR_FOLDER`."""

import hydra
from omegaconf import DictConfig

from deepfake import CONF, run


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="explain")
def main(cfg: DictConfig) -> None:
    run.launch(run.explain, cfg)


if __name__ == "__main__":
    run.script("explain", main)
