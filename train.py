"""Train a detector: `python train.py [model= features= dataset= ...]`; see `--help` and README.md."""

import sys

import hydra
from omegaconf import DictConfig

from deepfake import commandline, run


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    return run.launch(run.train, cfg)


if __name__ == "__main__":
    sys.argv[1:] = commandline.quoted(sys.argv[1:])
    if lacking := commandline.lacking(sys.argv[1:]):
        sys.exit(f"error: {lacking}")
    main()
    sys.exit(run.exit_code())
