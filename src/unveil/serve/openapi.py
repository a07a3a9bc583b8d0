"""OpenAPI's description of bodies, content types, headers and errors, for the routes of `build_app`."""

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from unveil.serve.middleware import KEYED_PATHS
from unveil.serve.options import Options
from unveil.serve.schemas import ErrorResponse
from unveil.serve.uploads import FILE_FIELDS

Responses = dict[int | str, dict[str, Any]]

REQUEST_ID_HEADER = {
    "X-Request-Id": {"description": "the client's own if it was plain, else a new one", "schema": {"type": "string"}}
}
RETRY_HEADER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}}
CHALLENGE_HEADER = {"WWW-Authenticate": {"schema": {"type": "string"}}}
BINARY = {"schema": {"type": "string", "format": "binary"}}
TEXT = {"schema": {"type": "string"}}

# status: description, code and message of the example
REFUSALS: dict[int, tuple[str, str, str]] = {
    400: ("a body that is missing or damaged, or a wrong host name", "bad_image", "photo.jpg: the JPEG is cut short"),
    401: ("the API key is missing or wrong", "unauthorized", "send the API key as Authorization: Bearer KEY"),
    403: ("the request comes from another site's page", "cross_site", "another site's page may not use this service"),
    404: ("no such path", "not_found", "no such path; GET /openapi.json lists them"),
    408: ("the upload stopped or took too long", "upload_timeout", "the upload made no progress for 10 s"),
    413: ("too many bytes or pixels", "too_large", "the request has more than 20 MiB; send less at once"),
    415: ("not an image in an accepted format", "unsupported_format", "a.gif: not an image in one of the formats JPEG"),
    422: ("an option that is not valid", "bad_boxes", "boxes: box [5, 5, 5, 9] is empty"),
    429: ("all slots are in use", "queue_full", "all 18 slots are in use; try again in a moment"),
    500: ("a fault of the service", "internal_error", "an unexpected error; the log has it under this request id"),
    501: ("no restorer is loaded", "no_restorer", "no restorer is loaded; start the service with --restorer NAME|PATH"),
    503: ("no thread became free, or no memory for uploads", "queue_timeout", "no thread became free in time"),
    504: ("the work took too long", "deadline_exceeded", "the work took longer than a request may"),
}
RETRIED = (429, 503)
REFERENCE = "#/components/schemas/{model}"


def error_responses(*statuses: int) -> Responses:
    """Return OpenAPI's description of error responses.

    Args:
        statuses: The HTTP statuses.
    """
    return {status: _error(status) for status in statuses}


def success(description: str, model: Any = None, example: Any = None, **content: Any) -> Responses:
    """Return OpenAPI's description of status 200.

    Args:
        description: One line.
        model: The model of the JSON, if there is JSON.
        example: An example of it.
        content: Schemas of other content types by their name, with `_` for the slash.
    """
    named = {kind.replace("_", "/", 1): schema for kind, schema in content.items()}
    if example is not None:
        named["application/json"] = {"example": example}
    described = {"description": description, "headers": REQUEST_ID_HEADER, "content": named}
    return {200: described | ({} if model is None else {"model": model})}


def upload_body(options: type[Options]) -> dict[str, Any]:
    """Return the `requestBody` of a route that takes images, with the options as form fields.

    Args:
        options: The model of the options.
    """
    properties = options.model_json_schema(by_alias=True)["properties"]
    file = {"type": "string", "format": "binary", "description": "an image: JPEG, PNG, WebP, BMP or TIFF"}
    fields = {name: {**schema, "default": schema["default"]} for name, schema in properties.items()}
    for schema in fields.values():
        if schema["default"] is None:
            del schema["default"]
    files = {"type": "array", "items": file, "minItems": 1}
    form = {
        "schema": {
            "type": "object",
            "required": [FILE_FIELDS[0]],
            "properties": {FILE_FIELDS[0]: files, **fields},
            "additionalProperties": False,
        },
        "encoding": {FILE_FIELDS[0]: {"contentType": "image/jpeg, image/png, image/webp, image/bmp, image/tiff"}},
    }
    return {
        "requestBody": {
            "required": True,
            "description": "one or several images, and the options, if they are not in the query",
            "content": {"multipart/form-data": form, "image/*": BINARY, "application/octet-stream": BINARY},
        }
    }


def json_body(*models: type[BaseModel]) -> dict[str, Any]:
    """Return the `requestBody` of a route that takes JSON.

    Args:
        models: The models that the JSON may have.
    """
    schemas = [model.model_json_schema(ref_template=REFERENCE) for model in models]
    components: dict[str, Any] = {}
    for schema in schemas:
        components |= schema.pop("$defs", {})
        components[schema["title"]] = schema
    references = [{"$ref": REFERENCE.format(model=schema["title"])} for schema in schemas]
    content = {"application/json": {"schema": {"anyOf": references}}}
    return {"requestBody": {"required": True, "content": content}, "x-components": components}


def _error(status: int) -> dict[str, Any]:
    description, code, message = REFUSALS[status]
    headers = REQUEST_ID_HEADER | (RETRY_HEADER if status in RETRIED else {})
    example = {"error": {"code": code, "message": message, "request_id": "7f3c9a"}}
    return {
        "model": ErrorResponse,
        "description": description,
        "headers": headers | (CHALLENGE_HEADER if status == 401 else {}),
        "content": {"application/json": {"example": example}},
    }


def describe_security(app: FastAPI, api_key: bool) -> None:
    """Add to OpenAPI what the middleware does: the API key, and the request id on every success.

    Args:
        app: The application.
        api_key: Whether the service has an API key.
    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    document["components"]["schemas"].update(operation.pop("x-components", {}))
                    operation["responses"]["200"].setdefault("headers", REQUEST_ID_HEADER)
                    if api_key and path in KEYED_PATHS:
                        operation["security"] = [{"bearer": []}, {"apiKey": []}]
            if api_key:
                document.setdefault("components", {})["securitySchemes"] = {
                    "bearer": {"type": "http", "scheme": "bearer"},
                    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                }
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
