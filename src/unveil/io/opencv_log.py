"""OpenCV's log kept off stderr while our own message says the same with the file's name."""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV logs nothing inside the block. The level is the process's: another thread's warnings are lost as well."""
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        logging.setLogLevel(level)
