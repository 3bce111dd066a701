"""The answers of a network: predictions, and how many of them are right."""

from zarrts.results.evaluation import Evaluation
from zarrts.results.predictions import Merge, Places, Predictions, codes_of

__all__ = ["Evaluation", "Merge", "Places", "Predictions", "codes_of"]
