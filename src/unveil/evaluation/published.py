"""Mean errors that papers print, for plots beside measured curves; their models saw 3148 training faces of 300W."""

from collections.abc import Mapping
from types import MappingProxyType

_NAMES = {
    "glomface": "GlomFace (2022)",
    "glomface_star": "GlomFace* (2022)",
    "saat": "SAAT (2021)",
    "lab": "LAB (2018)",
    "mdm": "MDM (2016)",
    "spiga": "SPIGA (2022)",
    "star": "STAR (2023)",
    "dvit": "D-ViT (2025)",
}


def _methods(**errors: float) -> dict[str, float]:
    return {_NAMES[method]: error for method, error in errors.items()}


PUBLISHED: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "300w/full": _methods(
            glomface=3.20, glomface_star=3.13, saat=3.25, lab=3.49, mdm=4.99, spiga=2.99, star=2.87, dvit=2.85
        ),
        "300w/challenging": _methods(
            glomface=4.87, glomface_star=4.79, saat=5.03, lab=5.19, mdm=7.56, spiga=4.66, star=4.32, dvit=4.56
        ),
        "300w/common": _methods(
            glomface=2.79, glomface_star=2.72, saat=2.82, lab=2.98, mdm=4.36, spiga=2.59, star=2.52
        ),
        "masked300w/full": _methods(glomface=5.98, saat=6.58, lab=6.76, mdm=8.44),
        "masked300w/challenging": _methods(glomface=8.81, saat=11.36, lab=9.59, mdm=11.67),
        "masked300w/common": _methods(glomface=5.29, saat=5.42, lab=6.07, mdm=7.66),
        "wflw/test": _methods(glomface=4.81, saat=5.11, lab=5.27, spiga=4.06, star=4.02, dvit=3.75),
        "wflw/occlusion": _methods(glomface=5.14, lab=6.79, spiga=4.95, dvit=4.47),
        "cofw29/test": _methods(glomface=4.37, star=4.62, dvit=4.13),
        "cofw68/test": _methods(glomface=4.21, saat=4.61, lab=4.62, mdm=6.12, spiga=3.93),
    }
)
"""By data set and method: NME in per cent by the data set's main normaliser, as printed."""
