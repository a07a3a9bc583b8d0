"""The results page's tables from figures."""

from benchmarks.results import COVERAGES, tables

FIGURES = {
    "nme_ocular": 2.891,
    "nme_ocular_ci95_low": 2.82,
    "nme_ocular_ci95_high": 2.96,
    "fr8_ocular": 0.0,
    "nme_pupil": 4.01,
    "nme_box": 1.74,
    "nrmse_ocular": 3.76,
}
OCCLUDED = FIGURES | {
    "nme_ocular_visible": 3.13,
    "nme_ocular_occluded": 5.51,
    "occlusion_recall_at_precision80": 100.0,
    "visibility_ece": 0.2,
}


def test_a_row_for_each_setting_and_a_dash_for_what_was_not_measured() -> None:
    swept = {f"nme_ocular_at_coverage{100 * coverage:.0f}": 3 + coverage for coverage in COVERAGES}
    lines = tables({"clean": FIGURES, "drawn masks": OCCLUDED}, swept).splitlines()
    assert lines[2] == "| clean | 2.89 | 2.82–2.96 | 0.00 | – | – | 4.01 | 1.74 | 3.76 |"  # noqa: RUF001
    assert "| drawn masks | 100.00 | 0.20 |" in lines
    assert lines[-1] == "| NME | 3.00 | 3.10 | 3.20 | 3.30 | 3.40 | 3.50 | 3.60 | 3.70 |"
