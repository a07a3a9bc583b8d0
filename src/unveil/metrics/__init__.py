"""Metrics: pure functions from landmarks to errors, curves, visibility and one flat summary."""

from unveil.metrics.distribution import (
    Ced,
    Interval,
    auc,
    auc_contribution,
    bootstrap_counts,
    bootstrap_interval,
    ced,
    failure_rate,
    failures,
)
from unveil.metrics.errors import (
    degenerate_faces,
    nme,
    nme_by_region,
    nme_over,
    normaliser_lengths,
    normaliser_names,
    nrmse,
    point_errors,
)
from unveil.metrics.summary import THRESHOLDS, Summary, metric_key, summarise
from unveil.metrics.visibility import Reliability, recall_at_precision, reliability

__all__ = [
    "THRESHOLDS",
    "Ced",
    "Interval",
    "Reliability",
    "Summary",
    "auc",
    "auc_contribution",
    "bootstrap_counts",
    "bootstrap_interval",
    "ced",
    "degenerate_faces",
    "failure_rate",
    "failures",
    "metric_key",
    "nme",
    "nme_by_region",
    "nme_over",
    "normaliser_lengths",
    "normaliser_names",
    "nrmse",
    "point_errors",
    "recall_at_precision",
    "reliability",
    "summarise",
]
