"""The same config under Hydra's own sweeper and launcher, with a task that does nothing: the cost to compare with."""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from bench.compose.schemas import CONF, register


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def nothing(config: DictConfig) -> None:
    pass


if __name__ == "__main__":
    register()
    nothing()
