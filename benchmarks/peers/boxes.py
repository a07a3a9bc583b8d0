"""From the tight landmark box to the square that each peer was trained on."""

from dataclasses import dataclass

from benchmarks.peers.jobs import Box


@dataclass(frozen=True, slots=True)
class Square:
    """A square round the tight box: its side is a sum of the box's width and height, its centre a little up or down.

    Found by `tune.py` as the one with the peer's least NME on 300 training faces of 300W (200 for face-api);
    no test face was looked at.
    """

    width: float
    height: float
    down: float
    """How far the centre lies below the box's, in sides of the square."""

    def of(self, box: Box) -> Box:
        x0, y0, x1, y1 = box
        side = self.width * (x1 - x0) + self.height * (y1 - y0)
        x, y = (x0 + x1) / 2, (y0 + y1) / 2 + self.down * side
        return x - side / 2, y - side / 2, x + side / 2, y + side / 2
