"""What the service answers with, as OpenAPI describes it. L landmarks, in pixels from the first one's centre."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class PoseAnswer(Answer):
    """Degrees: yaw to the image's right, pitch up and roll clockwise are positive."""

    yaw: float
    pitch: float
    roll: float


class FaceAnswer(Answer):
    """One face, in pixels of the picture as it is shown, that is turned as its EXIF data say."""

    box: tuple[float, float, float, float] = Field(description="tight box of the landmarks: x0, y0, x1, y1")
    score: float = Field(description="the detector's, from 0 to 1; 1 for a box that was given")
    landmarks: list[tuple[float, float]] = Field(description="L pairs of x and y")
    visibility: list[float] | None = Field(
        description="L probabilities of being seen rather than hidden; null if the model does not say"
    )
    uncertainty: list[float] | None = Field(description="L expected errors in pixels; null if the model does not say")
    pose: PoseAnswer | None = Field(description="null if the model's scheme does not name five points")


class PictureAnswer(Answer):
    """What `unveil align` writes for a picture."""

    image: str = Field(description="the name that the file was sent under")
    width: int
    height: int
    model: str
    scheme: str
    faces: list[FaceAnswer] = Field(description="best first, or in the order of the boxes")


class RestoredAnswer(Answer):
    """A picture without its occluders, and the landmarks found before and after."""

    image: str
    width: int
    height: int
    model: str
    scheme: str
    before: list[FaceAnswer]
    after: list[FaceAnswer]
    restored: str = Field(description="the restored picture as PNG, in base64")
    mask: str = Field(description="what was replaced, 255 where it was, as PNG of one channel, in base64")


class ContourAnswer(Answer):
    points: list[int]
    closed: bool


class SchemeAnswer(Answer):
    """The numbering of the model's landmarks, and how to draw them."""

    name: str
    points: int
    point_names: list[str]
    contours: list[ContourAnswer]
    visible_from: float = Field(description="from this visibility on a landmark is drawn as seen")


class LimitsAnswer(Answer):
    upload_bytes: int
    pixels: int
    boxes: int
    timeout_s: float


class HealthAnswer(Answer):
    status: str
    version: str
    model: str
    restorer: bool = Field(description="whether POST /restore can answer")
    places: int = Field(description="requests that may be here at once")
    taken: int
    limits: LimitsAnswer


class ErrorDetail(Answer):
    code: str = Field(description="one word for programs")
    message: str = Field(description="one line for people")
    request_id: str


class ErrorAnswer(Answer):
    """Every error has this shape."""

    error: ErrorDetail


PICTURE_EXAMPLE: dict[str, Any] = {
    "image": "photo.jpg",
    "width": 512,
    "height": 512,
    "model": "glomface-light",
    "scheme": "ibug68",
    "faces": [
        {
            "box": [123.1, 127.6, 266.4, 262.9],
            "score": 0.9999,
            "landmarks": [[126.35, 166.92], [127.44, 184.05]],
            "visibility": [0.9981, 0.0214],
            "uncertainty": [2.31, 3.874],
            "pose": {"yaw": 4.1, "pitch": -2.62, "roll": 1.93},
        }
    ],
}
"""Its face is shortened to two landmarks."""

UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "one picture: JPEG, PNG, WebP, BMP or TIFF",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "model": ErrorAnswer,
        "description": description,
        "content": {
            "application/json": {"example": {"error": {"code": code, "message": message, "request_id": "7f3c..."}}}
        },
    }
    for status, description, code, message in (
        (400, "no picture, or a damaged one", "bad_picture", "photo.jpg: the JPEG is cut short after 812 bytes"),
        (408, "the picture took too long to arrive", "slow_upload", "the picture did not arrive within 30 s"),
        (413, "too many bytes or pixels", "too_large", "the picture has more than 20 MiB; make it smaller"),
        (415, "not a picture that is taken", "wrong_format", "a.gif: not a picture in JPEG, PNG, WebP, BMP, TIFF"),
        (422, "an option that cannot be", "bad_boxes", "boxes: box [5, 5, 5, 9] is empty"),
        (429, "all places are taken; see Retry-After", "queue_full", "all 18 places are taken; try again in a moment"),
        (503, "no thread became free in time", "no_thread_free", "no thread became free in time; try again later"),
        (504, "the picture took too long", "too_slow", "the picture took longer than a request may"),
    )
}
