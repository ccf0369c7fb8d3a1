"""Score a corpus with a trained detector and evaluate the scores: `python evaluate.py run=RUN [dataset=...]`."""

import hydra
from omegaconf import DictConfig

from deepfake import CONF, run


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
def main(cfg: DictConfig) -> None:
    run.launch(run.evaluate, cfg)


if __name__ == "__main__":
    run.script("evaluate", main)
