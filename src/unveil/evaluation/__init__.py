"""Models over data sets and predictions beside the truth: figures, plots and reports that say how they came about."""

from unveil.evaluation.boxes import (
    FALLBACK,
    BoxOf,
    detected_box,
    fallback_box,
    listed_box,
    nearest,
    noisy_box,
    overlap,
    true_box,
)
from unveil.evaluation.comparison import Comparison, Setting, compare, report_of
from unveil.evaluation.figures import Figures, Lines, figures_of, headline_normaliser, is_partial, summary_of, table
from unveil.evaluation.mapping import Aligner, aligner_in, common_scheme, faces_in, scheme_of_folder
from unveil.evaluation.plots import need_matplotlib
from unveil.evaluation.published import Published, measure_pairs, published_report
from unveil.evaluation.report import Report, file_name, write_landmarks, write_report
from unveil.evaluation.run import Outcome, Run, run_model, run_models
from unveil.evaluation.sweep import Sweep, check_shares
from unveil.evaluation.terminal import print_table

__all__ = [
    "FALLBACK",
    "Aligner",
    "BoxOf",
    "Comparison",
    "Figures",
    "Lines",
    "Outcome",
    "Published",
    "Report",
    "Run",
    "Setting",
    "Sweep",
    "aligner_in",
    "check_shares",
    "common_scheme",
    "compare",
    "detected_box",
    "faces_in",
    "fallback_box",
    "figures_of",
    "file_name",
    "headline_normaliser",
    "is_partial",
    "listed_box",
    "measure_pairs",
    "nearest",
    "need_matplotlib",
    "noisy_box",
    "overlap",
    "print_table",
    "published_report",
    "report_of",
    "run_model",
    "run_models",
    "scheme_of_folder",
    "summary_of",
    "table",
    "true_box",
    "write_landmarks",
    "write_report",
]
