"""What the field measures: pure functions from landmarks to errors, curves, visibility and one flat summary."""

from unveil.metrics.curves import Ced, auc, ced, covered, failed, failure_rate
from unveil.metrics.errors import (
    immeasurable,
    nme,
    nme_by_region,
    nme_over,
    normaliser_lengths,
    normaliser_names,
    nrmse,
    point_errors,
)
from unveil.metrics.intervals import Interval, interval, resamples
from unveil.metrics.summary import THRESHOLDS, Summary, spelt, summarise
from unveil.metrics.visibility import Reliability, recall_at_precision, reliability

__all__ = [
    "THRESHOLDS",
    "Ced",
    "Interval",
    "Reliability",
    "Summary",
    "auc",
    "ced",
    "covered",
    "failed",
    "failure_rate",
    "immeasurable",
    "interval",
    "nme",
    "nme_by_region",
    "nme_over",
    "normaliser_lengths",
    "normaliser_names",
    "nrmse",
    "point_errors",
    "recall_at_precision",
    "reliability",
    "resamples",
    "spelt",
    "summarise",
]
