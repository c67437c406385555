"""RFC 9457: every refusal of the three APIs as `application/problem+json`, in one shape."""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from core.errors import Fault, PlanebaseError
from core.schema.closed import nearest, pointer

MEDIA_TYPE = "application/problem+json"
MAX_FAULTS = 50
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 413: "too_large", 500: "internal"}
_PARAMETERS = ("query", "path", "header", "cookie")
# What pydantic calls a thing, where our codes say it better.
_KINDS = {"extra_forbidden": "unknown_field", "missing": "required"}


def install(app: FastAPI) -> None:
    """Make every refusal of `app` a problem; what nobody foresaw is answered by `api.edge`."""
    app.add_exception_handler(PlanebaseError, _refused)
    app.add_exception_handler(RequestValidationError, _misread)
    app.add_exception_handler(HTTPException, _http)
    # Starlette would answer in words of its own before the edge can.
    app.add_exception_handler(Exception, _unforeseen)


def problem(
    status: int,
    code: str,
    detail: str,
    request_id: str,
    faults: Iterable[Fault] = (),
    extra: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the body of a problem."""
    body = {**members(status, code, detail, faults), "request_id": request_id, **(extra or {})}
    # ASCII: a client's unpaired surrogate, quoted back to it, has no UTF-8.
    return json.dumps(body, separators=(",", ":"), default=str).encode()


def members(status: int, code: str, detail: str, faults: Iterable[Fault] = ()) -> dict[str, Any]:
    """Return what a problem says of itself, whether it is an answer or a part of one."""
    return {
        "type": f"urn:planebase:problem:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "errors": [
            {"pointer": f.pointer, "code": f.code, "detail": f.detail} for f in list(faults)[:MAX_FAULTS]
        ],
    }


def answer(error: PlanebaseError, request_id: str) -> Response:
    """Return the response that tells `error` to the caller."""
    extra = dict(error.extra)
    headers = {str(k): str(v) for k, v in extra.pop("headers", {}).items()}
    if error.status in (429, 503):
        headers.setdefault("Retry-After", str(extra.pop("retry_after_s", 1)))
    if error.status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    body = problem(error.status, error.reason, error.detail, request_id, error.faults, extra)
    return Response(body, error.status, headers, MEDIA_TYPE)


def faults_of(errors: Iterable[Mapping[str, Any]], names: Iterable[str] | None = None) -> tuple[Fault, ...]:
    """Return pydantic's errors as faults; `names` are the valid ones where an unknown name is refused."""
    return tuple(_fault(tuple(error["loc"]), error, names) for error in list(errors)[:MAX_FAULTS])


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the `responses` that a route declares beside its success."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


def add_schema(openapi: dict[str, Any]) -> dict[str, Any]:
    """Return `openapi` with the schema that `problems` refers to, and without FastAPI's own error shape."""
    schemas = openapi.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = SCHEMA
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path in openapi.get("paths", {}).values():
        for operation in path.values():
            shape = str(operation.get("responses", {}).get("422", "")) if isinstance(operation, dict) else ""
            if "HTTPValidationError" in shape:
                operation["responses"] |= {str(k): v for k, v in problems(422).items()}
    return openapi


SCHEMA: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "What went wrong (RFC 9457). `code` is stable; `detail` is for people.",
    "required": ["type", "title", "status", "detail", "code", "request_id", "errors"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "request_id": {"type": "string", "pattern": "^[0-7][0-9a-hjkmnp-tv-z]{25}$"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "code", "detail"],
                "properties": {
                    "pointer": {
                        "type": "string",
                        "description": "A JSON pointer into the body, or the name of a parameter or header.",
                    },
                    "code": {"type": "string"},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


def _request_id(request: Request) -> str:
    return str(request.scope["trace"].operation_id)


async def _unforeseen(_request: Request, error: Exception) -> Response:
    raise error


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, PlanebaseError)  # noqa: S101  (Starlette's handlers are typed for any exception)
    return answer(error, _request_id(request))


async def _misread(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    route = request.scope.get("route")
    faults = []
    status = 400
    for found in list(error.errors())[:MAX_FAULTS]:
        where, *rest = found["loc"]
        if found["type"] == "json_invalid":
            faults.append(Fault("", "json_invalid", f"not JSON: {found['ctx']['error']}"))
        elif where in _PARAMETERS:
            faults.append(_fault((".".join(map(str, rest)),), found, None, parameter=True))
        else:
            status = 422
            faults.append(_fault(tuple(rest), found, _names_at(route, rest[:-1])))
    code, detail = (
        ("invalid", "The body is not valid")
        if status == 422
        else ("bad_request", "The request cannot be read")
    )
    return Response(
        problem(status, code, f"{detail}: {faults[0].detail}", _request_id(request), faults),
        status,
        None,
        MEDIA_TYPE,
    )


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = error.status_code
    code = _CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")
    detail = {404: "There is no such address", 405: f"{request.method} is not possible here"}.get(
        status, error.detail
    )
    # FastAPI says so of a body that is nested too deep to be read.
    faults = [Fault("", "unreadable", str(detail))] if status == 400 else []
    return Response(
        problem(status, code, str(detail), _request_id(request), faults),
        status,
        dict(error.headers or {}),
        MEDIA_TYPE,
    )


def _fault(
    loc: tuple[str | int, ...],
    error: Mapping[str, Any],
    names: Iterable[str] | None,
    *,
    parameter: bool = False,
) -> Fault:
    where = str(loc[0]) if parameter and loc else pointer(*loc)
    code = _KINDS.get(error["type"], str(error["type"]))
    detail = str(error["msg"])
    if code == "unknown_field":
        detail = nearest("member" if names is None else "field", str(loc[-1]), names or ())
    elif code == "required":
        detail = "required"
    elif code == "model_attributes_type":
        detail = "a JSON object is needed, with Content-Type: application/json"
    return Fault(where, code, detail)


def _names_at(route: Any, loc: Iterable[str | int]) -> list[str]:
    """The names that a route's body model knows at `loc`, for the hint at the nearest one."""
    field = getattr(route, "body_field", None) if isinstance(route, APIRoute) else None
    model: Any = getattr(getattr(field, "field_info", None), "annotation", None)
    for part in loc:
        if (
            isinstance(part, str)
            and isinstance(model, type)
            and issubclass(model, BaseModel)
            and part in model.model_fields
        ):
            model = model.model_fields[part].annotation
        model = next((a for a in getattr(model, "__args__", ()) if isinstance(a, type)), model)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []
