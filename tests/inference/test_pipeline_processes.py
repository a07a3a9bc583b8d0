"""A pipeline in other processes and threads, and what onnxruntime leaves behind."""

import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from unveil.inference.aligner import AlignmentModel
from unveil.inference.pipeline import Pipeline
from unveil.schemes.scheme import IBUG68
from unveil.types import Image, Points

BOX = (178.0, 91.0, 269.0, 177.0)


def aligned(pipeline: Pipeline, image_rgb: Image) -> Points:
    return pipeline(image_rgb, [BOX])[0].landmarks


def test_a_pipeline_and_a_scheme_come_back_from_pickle(portrait: Image) -> None:
    pipeline = Pipeline(detector=None, restorer="gan-ia-light")
    copy = pickle.loads(pickle.dumps(pipeline))
    np.testing.assert_array_equal(aligned(copy, portrait), aligned(pipeline, portrait))
    assert pickle.loads(pickle.dumps(IBUG68)) == IBUG68


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_pipeline_works_in_a_process_of_any_kind(method: str, model_dir: Path, portrait: Image) -> None:
    pipeline = Pipeline(AlignmentModel.load(model_dir, threads=2), detector=None)
    expected = aligned(pipeline, portrait)  # the parent's threads run before the fork
    with multiprocessing.get_context(method).Pool(1) as pool:
        found = pool.apply_async(aligned, (pipeline, portrait)).get(timeout=60)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_runs_its_parents_pipeline_and_ends(portrait: Image) -> None:
    pipeline = Pipeline(detector=None, model=AlignmentModel.load("pfld", threads=2))
    expected = aligned(pipeline, portrait)
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: writer.send(aligned(pipeline, portrait)))
    process.start()
    assert reader.poll(60)
    np.testing.assert_array_equal(reader.recv(), expected)
    process.join(10)
    assert process.exitcode == 0


def test_many_threads_share_a_pipeline(portrait: Image) -> None:
    pipeline = Pipeline(detector=None, model="pfld")
    expected = aligned(pipeline, portrait)
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(lambda _: aligned(pipeline, portrait), range(24)):
            np.testing.assert_array_equal(found, expected)


def test_onnxruntime_writes_no_file_and_starts_no_uploader(tmp_path: Path) -> None:
    script = "import unveil, os; unveil.Pipeline('pfld', None); print(len(os.listdir('/proc/self/task')))"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache"), "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60, capture_output=True)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
