"""How errors grow with the covered share of the face. S shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from unveil.data.occlusion import SCALABLE
from unveil.evaluation.figures import Figures, Lines, cell
from unveil.evaluation.plots import SweepLine
from unveil.metrics import Interval

SAME_AT_EVERY_SHARE = ("n", "n_expected", "partial")


@dataclass(frozen=True, eq=False)
class Sweep:
    """Every model's figures at S shares, which were asked for in rising order."""

    shares: tuple[float, ...]
    figures: Mapping[str, tuple[Figures, ...]]

    def flat(self, model: str) -> dict[str, float]:
        """One flat object: `nme_ocular_at_share30` is the error where 30 % of the face was to be covered."""
        values: dict[str, float] = {}
        for share, figures in zip(self.shares, self.figures[model], strict=True):
            at = f"_at_share{100 * share:g}"
            values |= {name if name in SAME_AT_EVERY_SHARE else name + at: v for name, v in figures.flat().items()}
        return values

    def table(self, metric: str) -> Lines:
        """A line a share: what was asked for, what was covered, and the metric of each model."""
        lines: Lines = []
        for i, share in enumerate(self.shares):
            at_share = [figures[i] for figures in self.figures.values()]
            cells = [cell(at_share[0], "face_covered_share"), *(cell(one, metric) for one in at_share)]
            lines.append((f"{100 * share:g}", cells))
        return lines

    def lines(self) -> list[SweepLine]:
        """What `sweep_png` draws."""
        return [_line(name, figures) for name, figures in self.figures.items()]


def check_shares(kind: str | None, shares: Sequence[float]) -> tuple[float, ...]:
    """The shares in rising order, each once; ValueError if one is no share or the kind cannot be scaled to it."""
    if shares and kind is None:
        raise ValueError(f"--share needs --occlude, one of {', '.join(SCALABLE)}")
    for share in shares:
        if not 0 <= share <= 1:
            raise ValueError(f"--share {share:g}: the covered share of the face lies between 0 and 1")
    if shares and kind not in SCALABLE:
        raise ValueError(f"--share: {kind!r} is as large as it is on a face; take {', '.join(SCALABLE)}, or no --share")
    return tuple(sorted(set(shares)))


def _line(name: str, figures: Sequence[Figures]) -> SweepLine:
    covered = [one.more["face_covered_share"] for one in figures]
    errors = [one.summary.percent[one.headline] for one in figures]
    return SweepLine(name, covered, errors, [_interval(one) for one in figures])


def _interval(figures: Figures) -> Interval:
    return figures.summary.intervals[figures.headline]
