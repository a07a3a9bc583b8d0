import numpy as np
import pytest

from unveil.metrics.temporal import jitter, lag


def test_jitter_is_the_motion_beyond_the_true_one() -> None:
    still = np.zeros((10, 4, 2))
    moving = still + np.arange(10)[:, None, None]
    assert jitter(still, 50.0) == 0
    assert jitter(moving, 50.0, moving) == 0
    assert jitter(moving, 50.0) == pytest.approx(100 * 2**0.5 / 50)


@pytest.mark.parametrize("delay", [0, 1, 2])
def test_lag_is_the_delay_in_frames(delay: int) -> None:
    path = np.sin(np.arange(60) / 5)[:, None, None] * np.ones((1, 4, 2))
    late = np.roll(path, delay, axis=0)
    assert lag(late, path, settle=5) == pytest.approx(delay, abs=0.05)
