"""The table of methods and the one way through the house."""

from marey.pipeline.config import EstimateConfig
from marey.pipeline.estimation import estimate

__all__ = ["EstimateConfig", "estimate"]
