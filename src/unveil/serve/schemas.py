"""The JSON that the service returns, as OpenAPI describes it. L landmarks, in pixels from the first one's centre."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ResponseModel(BaseModel):
    """Base of all responses. Unknown fields are an error."""

    model_config = ConfigDict(extra="forbid")


class PoseResponse(ResponseModel):
    """Head pose in degrees."""

    yaw: float = Field(description="positive to the image's right")
    pitch: float = Field(description="positive upwards")
    roll: float = Field(description="positive clockwise")


class FaceResponse(ResponseModel):
    """One face, in pixels of the image as it was sent and is shown, with its EXIF orientation applied."""

    box: tuple[float, float, float, float] = Field(
        description="x0, y0, x1, y1 of the tight landmark box that the face was aligned in: the detector's, or yours"
    )
    score: float = Field(ge=0, le=1, description="of the detector; 1 for a box that was given")
    landmarks: list[tuple[float, float]] = Field(description="L pairs of x and y")
    visibility: list[float] | None = Field(
        description="L probabilities that a landmark is visible, not occluded; null if the model does not predict it"
    )
    uncertainty: list[float] | None = Field(
        description="L expected errors in pixels; null if the model does not predict it"
    )
    pose: PoseResponse | None = Field(description="null if the model's scheme does not define five points")


class ImageResponse(ResponseModel):
    """What `unveil align` writes for an image."""

    image: str = Field(description="the name that the file was sent under")
    width: int = Field(description="in pixels")
    height: int = Field(description="in pixels")
    model: str = Field(description="name of the landmark model")
    scheme: str = Field(description="name of the landmark scheme")
    faces: list[FaceResponse] = Field(description="best first, or in the order of the boxes")


class RestoreResponse(ResponseModel):
    """An image without its occluders, and the faces before and after.

    Coordinates are in pixels of the image as it was sent. A row of `restored` and `mask` has `scale` times as many.
    """

    image: str = Field(description="the name that the file was sent under")
    width: int = Field(description="in pixels")
    height: int = Field(description="in pixels")
    model: str = Field(description="name of the landmark model")
    scheme: str = Field(description="name of the landmark scheme")
    scale: float = Field(gt=0, le=1, description="less than 1 if the image was larger than the service processes")
    before: list[FaceResponse] = Field(description="the faces of the original image")
    after: list[FaceResponse] = Field(description="the same faces, aligned again on the restored image")
    restored: str = Field(description="the restored image as PNG, in base64")
    mask: str = Field(description="PNG of one channel, in base64: 255 where a pixel was replaced")


class ErrorDetail(ResponseModel):
    """What went wrong."""

    code: str = Field(description="one word for programs")
    message: str = Field(description="one line for people")
    request_id: str = Field(description="also in the header X-Request-Id and in the service's log")


class ErrorResponse(ResponseModel):
    """The form of every error."""

    error: ErrorDetail = Field(description="the error")


class ImageError(ResponseModel):
    """An image among several that cannot be used."""

    image: str = Field(description="the name that the file was sent under")
    error: ErrorDetail = Field(description="the error")


class ImagesResponse(ResponseModel):
    """Several images, in the order in which they were sent."""

    images: list[ImageResponse | ImageError] = Field(description="one entry for each image")


class RestoredImagesResponse(ResponseModel):
    """Several images, in the order in which they were sent."""

    images: list[RestoreResponse | ImageError] = Field(description="one entry for each image")


class ContourResponse(ResponseModel):
    """A line through landmarks."""

    points: list[int] = Field(description="indices of the landmarks, in drawing order")
    closed: bool = Field(description="whether the last landmark is joined to the first")


class SchemeResponse(ResponseModel):
    """The numbering of the model's landmarks, and the lines to draw through them."""

    name: str = Field(description="name of the scheme")
    points: int = Field(description="number of landmarks")
    point_names: list[str] = Field(description="one name for each landmark")
    contours: list[ContourResponse] = Field(description="the lines to draw")
    visibility_threshold: float = Field(description="from this visibility on a landmark is drawn as visible")


class LimitsResponse(ResponseModel):
    """Limits of one request."""

    upload_bytes: int = Field(description="of all images together")
    images: int = Field(description="in one request")
    boxes: int = Field(description="for one image")
    pixels: int = Field(description="of an image that is processed at its own size; larger ones are scaled down")
    max_pixels: int = Field(description="of an image that is accepted")
    timeout_s: float = Field(description="of a request: upload, wait and work")


class HealthResponse(ResponseModel):
    """State of the service: it runs, and its load."""

    status: Literal["ok"] = Field(description="always ok")
    version: str = Field(description="of this package")
    model: str = Field(description="name of the landmark model")
    restorer: bool = Field(description="whether POST /restore can answer")
    api_key: bool = Field(description="whether POST requests need the API key")
    slots: int = Field(description="jobs that may run or wait at once")
    slots_in_use: int = Field(description="jobs that run or wait")
    limits: LimitsResponse = Field(description="of one request")


class ReadyResponse(ResponseModel):
    """State of the service: the models are loaded and new requests are accepted."""

    status: Literal["ready"] = Field(description="always ready")


IMAGE_EXAMPLE: dict[str, Any] = {
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
