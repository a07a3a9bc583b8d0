"""`unveil track`: track faces through videos, image sequences, streams and cameras."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from unveil.cli.images import RuntimeOptions, check_runtime, check_writable, load_pipeline
from unveil.cli.progress import Job, error_message
from unveil.installation import install_command

if TYPE_CHECKING:  # --help must not wait for OpenCV and onnxruntime
    from unveil.inference.pipeline import Pipeline
    from unveil.io.video import Video

DEFAULT_SUFFIX = ".webm"  # every browser plays it, and OpenCV's wheels write it


@dataclass(frozen=True)
class Options(RuntimeOptions):
    """Track the faces of videos, image sequences, streams or a camera.

    Ctrl-C ends a camera or a stream; what was written before is complete. Exit status: 0 success, 1 some frames or
    videos could not be read, 2 nothing could be done, 130 interrupted. A video without a face is not a failure.
    """

    source: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE [SOURCE ...]")]
    """A video file, an image sequence (a folder, a quoted glob, or a pattern such as frames/%%04d.png), a URL (rtsp://,
    http://), a camera's number (0, 1, ...), or - for standard input. Folders and globs of videos are several videos."""
    out: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    """The video to write, .webm, .mp4, .mkv or .avi; the other files lie beside it. A folder if there are several
    sources. out/NAME.webm by default."""
    save: tuple[Literal["video", "json", "csv"], ...] = ("video", "json")
    """video: the frames with landmarks and ids; json: NAME.jsonl, a line per frame; csv: NAME.csv, a row per face."""
    smooth: bool = True
    """Smooth the landmarks with the One-Euro filter."""
    carry_occluded: bool = True
    """Carry occluded landmarks along with the visible ones."""
    fps: Annotated[float | None, tyro.conf.arg(metavar="N")] = None
    """Frame rate of an image sequence. 30 by default."""


def run(options: Options) -> int:
    """Track every source to its end.

    Args:
        options: The options of the command.

    Returns:
        The exit status.
    """
    from unveil.io.video_sources import expand_sources

    _check(options)
    sources = expand_sources(options.source)
    videos = video_paths(sources, options.out)
    _check_outputs(sources, videos if "video" in options.save else [], videos[0].parent)
    pipeline = load_pipeline(options)
    statuses = [_run_one(options, pipeline, source, video) for source, video in zip(sources, videos, strict=True)]
    return max(statuses) if len(set(statuses)) == 1 else 1


def _run_one(options: Options, pipeline: "Pipeline", source: str, video_path: Path) -> int:
    """Track one source and print one line on stderr for each problem; the exit status."""
    from unveil.io.video import open_video

    try:
        with open_video(source, options.fps) as video, Job(video.expected, "tracking", "frames/s") as job:
            try:
                summary = _track(options, pipeline, source, video, video_path, job)
            except Exception as error:  # the frames before the error are kept
                job.fail(error_message(error))
                return job.status
            for problem in video.problems:
                job.fail(problem)
    except (ValueError, OSError) as error:
        with Job(0, "tracking") as job:
            job.fail(error_message(error))
        return 2
    print(summary)
    return job.status


def _track(options: Options, pipeline: "Pipeline", source: str, video: "Video", video_path: Path, job: Job) -> str:
    """Track every frame and write the files; a line that states the result."""
    from itertools import chain

    import cv2

    from unveil.inference.track_files import track_files, track_paths
    from unveil.inference.tracking import Tracker
    from unveil.io.video_sources import VideoError
    from unveil.io.video_writer import has_pyav

    tracker = Tracker(pipeline, options.smooth, carry_occluded=options.carry_occluded)
    cv2.setNumThreads(options.threads)
    started_s = time.perf_counter()
    tracked = ((frame, tracker(frame.image_rgb, frame.time_s, flip_average=options.flip_average)) for frame in video)
    first = next(tracked, None)  # before any file is created
    if first is None:
        raise VideoError(f"{video.name}: no frame can be read; convert it to .mp4, or try another source")
    paths = track_paths(video_path, options.save)
    if "video" in paths and video_path.suffix == ".mp4" and not has_pyav():
        job.warn(f"{video_path}: written slowly and without sound; {install_command('video')}, or --out NAME.webm")
    path = Path(source)
    ids: set[int] = set()
    sound_from = path if path.is_file() else None
    with track_files(paths, video.fps, pipeline.model.scheme, sound_from) as add:
        for frame, faces in chain([first], tracked):
            add(frame, faces)
            ids.update(face.id for face in faces)
            job.succeed()
    rate = video.read / max(time.perf_counter() - started_s, 1e-6)
    if not ids:
        job.warn(f"{video.name}: no face found; try a lower --min-score")
    written = ", ".join(map(str, paths.values()))
    return f"frames: {video.read}, faces: {len(ids)}, frames/s: {rate:.1f}; {written}"


def video_paths(sources: list[str], out: Path | None) -> list[Path]:
    """Return the video that each source is written to.

    Args:
        sources: The sources.
        out: The option `--out`.

    Returns:
        One path for each source, all different.

    Raises:
        ValueError: The suffix is not a video's, or there are several sources and one file.
    """
    from unveil.io.video_sources import output_name
    from unveil.io.video_writer import OPENCV_CODECS

    folder = Path("out") if out is None else out
    if len(sources) == 1 and out is not None and not out.is_dir():
        if out.suffix in ("", ".jsonl", ".csv"):
            return [out.with_suffix(DEFAULT_SUFFIX)]
        if out.suffix not in OPENCV_CODECS:
            raise ValueError(f"--out {out}: videos are written as {', '.join(OPENCV_CODECS)}; choose one of these")
        return [out]
    if folder.suffix in (*OPENCV_CODECS, ".jsonl", ".csv") and not folder.is_dir():
        raise ValueError(f"--out {folder}: one file for {len(sources)} sources; name a folder")
    paths: list[Path] = []
    for source in sources:
        name = output_name(source)
        taken = {path.stem for path in paths}
        number = next(i for i in range(1, len(sources) + 1) if (name if i == 1 else f"{name}-{i}") not in taken)
        paths.append(folder / f"{name if number == 1 else f'{name}-{number}'}{DEFAULT_SUFFIX}")
    return paths


def _check(options: Options) -> None:
    """Raise ValueError, in one line, for an option with which nothing can be tracked."""
    if not options.source:
        raise ValueError("no SOURCE given: name a video, a folder of frames, a URL or a camera's number")
    check_runtime(options)
    if options.fps is not None and not 0.01 < options.fps < 1000:
        raise ValueError(f"--fps {options.fps:g}: give a number from 0.01 to 1000")
    if not options.save:
        raise ValueError("--save: name at least one of video, json, csv")


def _check_outputs(sources: list[str], videos: list[Path], folder: Path) -> None:
    """Raise ValueError if a video would overwrite a source or the folder is not writable."""
    read = {Path(source).resolve() for source in sources}
    for video in videos:
        if video.exists() and video.resolve() in read:
            raise ValueError(f"--out {video}: that is a source; choose another name")
    check_writable(folder)
