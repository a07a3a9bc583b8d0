"""POST /convert: landmarks, optionally corrected by hand, as a file in any format that `unveil convert` writes."""

import re
import tempfile
from pathlib import Path
from typing import Annotated, TypeAlias, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unveil.io.formats import FORMATS, FaceAnnotation, FormatName, ImageAnnotation
from unveil.schemes.scheme import SCHEMES, Scheme
from unveil.serve.jobs import JobResult, file_stem, files_result
from unveil.serve.limits import MIB, RequestError
from unveil.serve.options import invalid_option
from unveil.serve.schemas import PoseResponse
from unveil.serve.uploads import safe_name
from unveil.serve.workers import Cancellation
from unveil.types import Box, Pose

MAX_JSON_BYTES = 8 * MIB
MAX_LANDMARKS = 1000
MEDIA_TYPES = {".json": "application/json", ".csv": "text/csv", ".xml": "application/xml", ".pts": "text/plain"}
SEVERAL = re.compile(rb'\s*\{\s*"images"')

Pixel: TypeAlias = Annotated[float, Field(ge=-1e6, le=1e6)]
Probability: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Corners: TypeAlias = tuple[Pixel, Pixel, Pixel, Pixel]
Side: TypeAlias = Annotated[int, Field(ge=1, le=100_000)]


class ConvertOptions(BaseModel):
    """Options of POST /convert."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    as_: FormatName = Field(alias="as", description=f"one of {', '.join(get_args(FormatName))}")


class FaceRecord(BaseModel):
    """One face, as POST /align returns it; only the landmarks are required."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    landmarks: list[tuple[Pixel, Pixel]] = Field(
        min_length=1, max_length=MAX_LANDMARKS, description="L pairs of x and y in pixels"
    )
    visibility: list[Probability] | None = Field(default=None, description="L probabilities of being visible")
    visible: list[bool] | None = Field(default=None, description="as annotated by hand; replaces visibility")
    uncertainty: list[Annotated[float, Field(ge=0, le=1e6)]] | None = Field(
        default=None, description="L expected errors in pixels"
    )
    box: Corners | None = Field(default=None, description="x0, y0, x1, y1 in pixels")
    score: Probability | None = Field(default=None, description="of the detector")
    pose: PoseResponse | None = Field(default=None, description="in degrees")


class ImageRecord(BaseModel):
    """One image, as POST /align returns it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    image: str = Field(max_length=400, description="its file name")
    width: Side = Field(description="in pixels")
    height: Side = Field(description="in pixels")
    model: str | None = Field(default=None, max_length=200, description="its name")
    scheme: str | None = Field(default=None, max_length=200, description="the service's own or a built-in one")
    faces: list[FaceRecord] = Field(max_length=256, description="the faces in the image")


class ImageRecords(BaseModel):
    """Several images."""

    model_config = ConfigDict(extra="forbid")

    images: list[ImageRecord] = Field(min_length=1, max_length=256, description="the images")


ConvertBody: TypeAlias = ImageRecord | ImageRecords


def parse_body(data: bytes) -> list[ImageRecord]:
    """Read the JSON of a request.

    Args:
        data: One `ImageRecord` or one `ImageRecords`.

    Returns:
        The images.

    Raises:
        RequestError: 422, naming the first invalid value; 400 if it is not JSON.
    """
    kind = ImageRecords if SEVERAL.match(data) or b'"faces"' not in data else ImageRecord
    try:
        parsed = kind.model_validate_json(data)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise RequestError(400, "bad_json", "the body is not JSON; send what POST /align returned") from None
        raise invalid_option(error.errors()) from None
    return parsed.images if isinstance(parsed, ImageRecords) else [parsed]


def convert(records: list[ImageRecord], kind: FormatName, own_scheme: Scheme, cancellation: Cancellation) -> JobResult:
    """Return the images' landmarks as a file, or as a zip of several.

    The writers write files, so the data passes through a temporary folder.

    Args:
        records: The images.
        kind: The format.
        own_scheme: The scheme of the service's model.
        cancellation: Checked before the work.

    Raises:
        RequestError: 422 for faces that the format cannot express.
    """
    cancellation.check()
    schemes = {own_scheme.name: own_scheme, **SCHEMES}
    scheme = next((schemes[record.scheme] for record in records if record.scheme in schemes), None)
    names = set[str]()
    images = [_image(record, scheme, names) for record in records]
    stem, target = file_stem(records[0].image), FORMATS[kind]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) if target.in_folder else Path(folder) / f"{stem}{target.suffix}"
        try:
            target.write(path, images, scheme)
        except ValueError as error:
            raise RequestError(422, "not_convertible", f"{kind}: {str(error)[:200]}") from None
        found = sorted(each for each in Path(folder).rglob("*") if each.is_file())
        files = {each.relative_to(folder).as_posix(): each.read_bytes() for each in found}
    if not files:
        raise RequestError(422, "no_face", f"there is no face to write as {kind}")
    if len(files) == 1:  # the name of a client's image need not be one for a header
        files = {f"{stem}{target.suffix}": next(iter(files.values()))}
    media_type = MEDIA_TYPES[f".{target.suffix.rpartition('.')[2]}"]
    faces = sum(len(image.faces) for image in images)
    return files_result(files, media_type, f"{stem}{target.suffix}.zip", len(images), faces)


def _image(record: ImageRecord, scheme: Scheme | None, names: set[str]) -> ImageAnnotation:
    """Return an image under a unique name that is not a path."""
    name = safe_name(record.image)
    stem, suffix = Path(name).stem, Path(name).suffix
    name = next(each for each in (name, *(f"{stem}-{n}{suffix}" for n in range(2, 300))) if each not in names)
    names.add(name)
    size = (record.width, record.height)
    faces = [_face(face, i, name, record, scheme) for i, face in enumerate(record.faces)]
    return ImageAnnotation(name, tuple(faces), size, record.model)


def _face(face: FaceRecord, index: int, name: str, record: ImageRecord, scheme: Scheme | None) -> FaceAnnotation:
    count, where = len(face.landmarks), f"face {index} of {name}"
    if scheme is not None and record.scheme == scheme.name and count != scheme.points:
        message = f"{where}: {count} landmarks, but scheme {scheme.name!r} has {scheme.points}"
        raise RequestError(422, "bad_landmarks", message)
    for key in ("visibility", "visible", "uncertainty"):
        values = getattr(face, key)
        if values is not None and len(values) != count:
            message = f"{where}: {len(values)} values of {key}, but {count} landmarks"
            raise RequestError(422, "bad_landmarks", message)
    return FaceAnnotation(
        image=name,
        where=where,
        points_px=np.array(face.landmarks, np.float32),
        face=index,
        scheme=record.scheme,
        visible=None if face.visible is None else np.array(face.visible, np.bool_),
        visibility=None if face.visibility is None else np.array(face.visibility, np.float32),
        uncertainty=None if face.uncertainty is None else np.array(face.uncertainty, np.float32),
        box=None if face.box is None else Box(*face.box),
        score=face.score,
        pose=None if face.pose is None else Pose(face.pose.yaw, face.pose.pitch, face.pose.roll),
        image_size=(record.width, record.height),
    )
