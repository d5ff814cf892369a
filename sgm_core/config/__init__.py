"""params.yaml as frozen models. Nothing here imports torch."""

from sgm_core.config.experiment import Config, ExperimentConfig, load_config, parse_config

__all__ = ["Config", "ExperimentConfig", "load_config", "parse_config"]
