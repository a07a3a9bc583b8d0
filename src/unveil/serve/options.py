"""The options of a request, in the query or in the form."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, WithJsonSchema

from unveil.io.boxes import check_box
from unveil.serve.limits import RequestError
from unveil.types import Box

AlignFormat: TypeAlias = Literal["json", "csv", "pts", "png"]
RestoreFormat: TypeAlias = Literal["json", "png"]
BoxList: TypeAlias = list[tuple[float, float, float, float]]

BOXES = TypeAdapter[list[BoxList | None] | BoxList](list[BoxList | None] | BoxList)
MAX_BOXES_LENGTH = 32 * 1024
BOXES_SCHEMA = {"type": "string", "maxLength": MAX_BOXES_LENGTH, "contentMediaType": "application/json"}


class Options(BaseModel):
    """Options of POST /align and POST /restore. An unknown name is refused, because it may be misspelt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    flip_average: bool = Field(
        default=False, description="also align the mirrored faces and return the mean: twice the time"
    )
    min_score: float = Field(
        default=0, ge=0, le=1, description="faces that the detector gave a lower score, from 0 to 1, are left out"
    )
    boxes: Annotated[str | None, WithJsonSchema(BOXES_SCHEMA)] = Field(
        default=None,
        max_length=MAX_BOXES_LENGTH,
        description="JSON: tight landmark boxes in pixels of the image as it was sent, instead of a detector's: "
        "[[x0, y0, x1, y1], ...]. For several images a list of such lists in their order; null detects the faces.",
    )

    def merged(self, form: dict[str, str]) -> Self:
        """Return these options, from the query, with those of the form, which take precedence.

        Args:
            form: The form's fields.

        Raises:
            RequestError: 422 if a field is not an option or not valid.
        """
        given = self.model_dump(by_alias=True, exclude_unset=True)
        try:
            return type(self).model_validate({**given, **form})
        except ValidationError as error:
            raise invalid_option(error.errors()) from None

    def boxes_per_image(self, images: int, most: int) -> list[list[Box] | None]:
        """Return each image's boxes, None where faces are to be detected.

        Args:
            images: How many images the request has.
            most: The limit of boxes for one image.

        Raises:
            RequestError: 422 if the boxes are not valid JSON, too many, or not for as many images.
        """
        if self.boxes is None:
            return [None] * images
        try:
            parsed: list[Any] = BOXES.validate_json(self.boxes)
        except ValidationError:
            message = "boxes: expected JSON, [[x0, y0, x1, y1], ...] in pixels; for several images a list of these"
            raise RequestError(422, "bad_boxes", message) from None
        if not parsed or any(isinstance(item, tuple) for item in parsed):  # the boxes of one image
            parsed = [parsed]
        if len(parsed) != images:
            raise RequestError(422, "bad_boxes", f"boxes: lists for {len(parsed)} images, but {images} were sent")
        boxes = [None if item is None else [Box(*numbers) for numbers in item] for item in parsed]
        largest = max(len(item or ()) for item in boxes)
        if largest > most:
            raise RequestError(422, "bad_boxes", f"boxes: {largest} for one image, but at most {most} are accepted")
        return boxes


class AlignOptions(Options):
    """Options of POST /align."""

    as_: AlignFormat = Field(
        default="json",
        alias="as",
        description="json; csv, one row a face; pts, a zip if there are several faces; png, the image with its "
        "landmarks drawn, a zip if there are several images",
    )


class RestoreOptions(Options):
    """Options of POST /restore."""

    as_: RestoreFormat = Field(
        default="png",
        alias="as",
        description="png, the restored image, a zip if there are several; json, with the mask and the faces before "
        "and after",
    )


def check_boxes(boxes: list[Box] | None, width: int, height: int) -> None:
    """Check that boxes lie on an image.

    Args:
        boxes: The boxes in pixels, if there are any.
        width: Width of the image in pixels.
        height: Height of the image in pixels.

    Raises:
        RequestError: 422, naming the box and the problem.
    """
    try:
        for box in boxes or ():
            check_box(box, width, height)
    except ValueError as error:
        raise RequestError(422, "bad_boxes", f"boxes: {error}") from None


def invalid_option(errors: Sequence[Any]) -> RequestError:
    """Return the error that names the first invalid option.

    Args:
        errors: As pydantic lists them, at least one.
    """
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part != "query")[:80]
    return RequestError(422, "bad_option", f"{where}: {first['msg'][:200]}")
