"""`unveil track`: a video or a camera in, faces followed from frame to frame out."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.cli.images import RuntimeOptions, check_writable
from unveil.cli.progress import Job, error_message

if TYPE_CHECKING:  # --help should not wait for OpenCV and onnxruntime
    from unveil.inference.tracking import Tracker
    from unveil.io.video import Video


@dataclass(frozen=True)
class Options(RuntimeOptions):
    """Follows the faces of a video file or a camera.

    Ctrl-C, which is how a camera is stopped, leaves whole files of what was seen till then. Status: 0 all well, 1 some
    frames could not be read, 2 nothing could be done, 130 interrupted. A video without a face is not a failure.
    """

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """A video file, or a camera's number: 0, 1, ..."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The video to write, .mp4 or .avi; what else is saved lies beside it. out/NAME.mp4 unless given."""
    save: tuple[Literal["video", "json", "csv"], ...] = ("video", "json")
    """video: the frames with landmarks and ids; json: NAME.jsonl, one line a frame; csv: NAME.csv, one row a face."""
    smooth: bool = True
    """One-Euro smoothing of the landmarks."""


def run(options: Options) -> int:
    """Follows the source to its end and says on stderr, one line each, what could not be done."""
    from unveil.io.video import open_video

    try:
        _check(options)
        with open_video(options.source) as video, Job(video.expected, "tracking", "frames/s") as job:
            try:
                summary = _track(options, video, job)
            except Exception as error:  # whatever it is, the frames before it are kept
                job.fail(error_message(error))
                return job.status
            for problem in video.problems:
                job.fail(problem)
    except (ValueError, OSError) as error:  # of the options or the source
        with Job(0, "tracking") as job:
            job.fail(error_message(error))
        return 2
    print(summary)
    return job.status


def _track(options: Options, video: "Video", job: Job) -> str:
    """Follows every frame and writes what is to be saved; a line that says what was done."""
    from itertools import chain

    import cv2

    from unveil.inference.track_files import track_files, track_paths
    from unveil.io.video import VideoError

    tracker = _tracker(options)
    cv2.setNumThreads(options.threads)
    frames = iter(video)
    first = next(frames, None)  # before any file is begun
    if first is None:
        raise VideoError(f"{video.name}: no frame could be read from it; convert it to .mp4, or try another camera")
    paths = track_paths(video_path(options.source, options.out), options.save)
    ids: set[int] = set()
    started_s = time.perf_counter()
    with track_files(paths, video.fps, tracker.pipeline.model.scheme) as add:
        for frame in chain([first], frames):
            faces = tracker(frame.image_rgb, frame.time_s, flip_average=options.flip_average)
            add(frame, faces)
            ids.update(face.id for face in faces)
            job.succeed()
    rate = video.read / max(time.perf_counter() - started_s, 1e-6)
    if not ids:
        job.warn(f"{video.name}: no face found; try a lower --min-score")
    where = ", ".join(map(str, paths.values()))
    return f"frames: {video.read}, faces: {len(ids)}, frames/s: {rate:.1f}; {where}"


def _tracker(options: Options) -> "Tracker":
    from unveil.inference.pipeline import Pipeline
    from unveil.inference.tracking import Tracker

    pipeline = Pipeline(
        model=options.model,
        detector=options.detector,
        detector_model=options.detector_model,
        min_score=options.min_score,
        threads=options.threads,
        provider=options.provider,
    )
    return Tracker(pipeline, options.smooth)


def video_path(source: str, out: Path | None) -> Path:
    """Where the video goes, or would go; ValueError if it could not be written there."""
    from unveil.io.video import CODECS

    name = f"camera-{source}" if source.isdecimal() else Path(source).stem
    path = Path("out") if out is None else out
    if out is None or out.is_dir():
        return path / f"{name}.mp4"
    if path.suffix in ("", ".jsonl", ".csv"):
        return path.with_suffix(".mp4")
    if path.suffix not in CODECS:
        raise ValueError(f"--out {path}: videos are written as {' or '.join(CODECS)}; choose one of these")
    return path


def _check(options: Options) -> None:
    """ValueError, in one line, for an option that nothing could be tracked with."""
    if options.threads < 1:
        raise ValueError(f"--threads {options.threads}: give 1 or more")
    if not 0 <= options.min_score <= 1:
        raise ValueError(f"--min-score {options.min_score:g}: give a number from 0 to 1")
    if not options.save:
        raise ValueError("--save: name at least one of video, json, csv")
    path = video_path(options.source, options.out)
    if "video" in options.save and path.exists() and path.resolve() == Path(options.source).resolve():
        raise ValueError(f"--out {path}: that is the source itself; choose another name")
    check_writable(path.parent)
