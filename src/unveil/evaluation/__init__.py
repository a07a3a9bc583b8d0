"""Evaluate models on data sets, or predictions against their ground truth: metrics, plots and reports."""

from unveil.evaluation.boxes import (
    BoxSource,
    detected_box,
    ground_truth_box,
    listed_box,
    noisy_box,
)
from unveil.evaluation.comparison import Comparison, EvaluationConfig, check_coverage, compare, report_of
from unveil.evaluation.predictions import PredictionResult, evaluate_predictions, prediction_report
from unveil.evaluation.report import Report, file_name, require_report_packages, write_landmarks, write_report
from unveil.evaluation.results import (
    ModelResult,
    Rows,
    Sweep,
    headline_normaliser,
    markdown_table,
    metric_rows,
    print_table,
    result_of,
)
from unveil.evaluation.runner import Predictions, Run, run_models
from unveil.evaluation.schemes import aligner_in, common_scheme, faces_in, scheme_of_folder

__all__ = [
    "BoxSource",
    "Comparison",
    "EvaluationConfig",
    "ModelResult",
    "PredictionResult",
    "Predictions",
    "Report",
    "Rows",
    "Run",
    "Sweep",
    "aligner_in",
    "check_coverage",
    "common_scheme",
    "compare",
    "detected_box",
    "evaluate_predictions",
    "faces_in",
    "file_name",
    "ground_truth_box",
    "headline_normaliser",
    "listed_box",
    "markdown_table",
    "metric_rows",
    "noisy_box",
    "prediction_report",
    "print_table",
    "report_of",
    "require_report_packages",
    "result_of",
    "run_models",
    "scheme_of_folder",
    "write_landmarks",
    "write_report",
]
