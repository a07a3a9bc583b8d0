"""Images and shards of the tests of batches."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np


def png(brightness: int = 90) -> bytes:
    """Encode an image of one colour."""
    return bytes(cv2.imencode(".png", np.full((24, 24, 3), brightness, np.uint8))[1].tobytes())


def read_rows(out: Path) -> list[dict[str, Any]]:
    """Read all shards of a folder, as a user reads them."""
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return rows
