"""What OpenAPI says of the record routes: their parameters, bodies and answers."""

from typing import Any

from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from api.problems import problems
from core.body import MAX_RECORDS
from core.ids import PATTERN

_JSON = "application/json"
_ANY = (400, 401, 403, 404, 503)
_ONE_OF = [{"required": ["fields"]}, {"required": ["records"]}]


def _parameter(
    where: str, name: str, description: str, schema: dict[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "in": where,
        "description": description,
        "schema": schema,
        "required": where == "path",
    } | more


def _path(name: str, what: str) -> dict[str, Any]:
    return _parameter("path", name, f"The id of the {what}.", {"$ref": "#/components/schemas/Id"})


_TABLE = [_path("base_id", "base"), _path("table_id", "table")]
_RECORD = [*_TABLE, _path("record_id", "record")]
_FIELDS = _parameter(
    "query",
    "fields",
    "Only these fields, separated by commas; a name with a comma stands in double quotes.",
    {"type": "string"},
)
_KEY = _parameter(
    "header",
    "Idempotency-Key",
    "Of the caller's choice. The call is done once; a repetition within 24 hours answers the same.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
)
_IF_MATCH = _parameter(
    "header", "If-Match", "Only if the record has this version.", {"type": "string"}, example='"v3"'
)
_IF_NONE_MATCH = _parameter(
    "header",
    "If-None-Match",
    "Answer 304 if the record has this version.",
    {"type": "string"},
    example='"v3"',
)
_LISTED = [
    _parameter(
        "query",
        "limit",
        "How many records at most.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    _parameter(
        "query",
        "sort",
        "Field names, separated by commas, each with a minus for descending. Besides the table's own fields there"
        " are id, created_at, updated_at and version. Empty values come last, or first where descending.",
        {"type": "string"},
        example="-Amount,Name",
    ),
    _parameter(
        "query",
        "filter",
        "`field.operator.value` with the operators eq, ne, lt, lte, gt, gte, in and is (null or not_null), joined by"
        " and(…,…), or(…,…) and not(…). A name or value with a comma, dot, bracket or quote stands in double quotes."
        " A comparison with an empty field is false; `ne` is true.",
        {"type": "string", "maxLength": 8000},
        example="and(Status.eq.open,or(Amount.gt.100,Due.is.null))",
    ),
    _FIELDS,
    _parameter("query", "cursor", "`next_cursor` of the page before.", {"type": "string"}),
]
_ETAG = {"ETag": {"description": "The record's version.", "schema": {"type": "string"}, "example": '"v3"'}}
_HIT = {
    "Idempotency-Hit": {
        "description": "`true` where this repeats an earlier call.",
        "schema": {"type": "string", "enum": ["true"]},
    }
}
_LOCATION = {"Location": {"description": "The address of the one record.", "schema": {"type": "string"}}}


def _route(
    summary: str,
    parameters: list[dict[str, Any]],
    status: int,
    answer: dict[str, Any],
    *,
    statuses: tuple[int, ...] = (),
    headers: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
) -> dict[str, Any]:
    responses: dict[int | str, dict[str, Any]] = {
        status: {
            "description": "Done." if body is not None else "Found.",
            "content": {_JSON: {"schema": answer}},
            "headers": headers or {},
        }
    }
    extra: dict[str, Any] = {"parameters": parameters, "security": [{"token": []}]}
    if body is not None:
        extra["requestBody"] = {"required": True, "content": {_JSON: {"schema": body}}}
    return {
        "summary": summary,
        "status_code": status,
        "response_model": None,
        "responses": responses | problems(*sorted({*_ANY, *statuses})),
        "openapi_extra": extra,
    }


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_WRITTEN = (409, 413, 422)
_CHANGED = (*_WRITTEN, 412)
LIST = _route("List records", [*_TABLE, *_LISTED], 200, _ref("RecordPage"), statuses=(413,))
GET = _route(
    "Read a record", [*_RECORD, _FIELDS, _IF_NONE_MATCH], 200, _ref("Record"), statuses=(413,), headers=_ETAG
)
GET["responses"][304] = {"description": "The caller has this version.", "headers": _ETAG}
CREATE = _route(
    "Create records",
    [*_TABLE, _KEY],
    201,
    {"oneOf": [_ref("Record"), _ref("Records")]},
    statuses=_WRITTEN,
    headers=_ETAG | _LOCATION | _HIT,
    body=_ref("Create"),
)
MERGE = _route(
    "Change a record",
    [*_RECORD, _KEY, _IF_MATCH],
    200,
    _ref("Record"),
    statuses=_CHANGED,
    headers=_ETAG | _HIT,
    body=_ref("FieldsOnly"),
)
REPLACE = MERGE | {"summary": "Replace a record"}
MERGE_MANY = _route(
    "Change records",
    [*_TABLE, _KEY],
    200,
    _ref("Records"),
    statuses=_CHANGED,
    headers=_HIT,
    body=_ref("ChangeMany"),
)
REPLACE_MANY = MERGE_MANY | {"summary": "Replace records"}
DELETE = _route(
    "Delete a record",
    [*_RECORD, _KEY, _IF_MATCH],
    200,
    _ref("Deleted"),
    statuses=_CHANGED,
    headers=_HIT,
)
DELETE_MANY = _route(
    "Delete records",
    [
        *_TABLE,
        _KEY,
        _parameter(
            "query",
            "id",
            "The records, once each.",
            {"type": "array", "items": _ref("Id"), "minItems": 1, "maxItems": 100},
            required=True,
            style="form",
            explode=True,
        ),
    ],
    200,
    {
        "type": "object",
        "required": ["records"],
        "properties": {"records": {"type": "array", "items": _ref("Deleted")}},
    },
    statuses=_WRITTEN,
    headers=_HIT,
)

_FIELD_VALUES = {
    "type": "object",
    "description": "Values by field name; null is empty.",
    "additionalProperties": True,
}
_VERSION = {"type": "integer", "minimum": 1}


def _object(required: list[str], properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    } | more


_RECORDS_OF = {"type": "array", "minItems": 1, "maxItems": MAX_RECORDS}
SCHEMAS: dict[str, Any] = {
    "Id": {"type": "string", "pattern": PATTERN, "description": "A ULID in lower case."},
    "Record": _object(
        ["id", "created_at", "updated_at", "version", "fields"],
        {
            "id": _ref("Id"),
            "created_at": {"type": "string", "format": "date-time"},
            "updated_at": {"type": "string", "format": "date-time"},
            "version": _VERSION,
            "fields": _FIELD_VALUES,
        },
    ),
    "Records": _object(["records"], {"records": {"type": "array", "items": _ref("Record")}}),
    "RecordPage": _object(
        ["records", "next_cursor"],
        {
            "records": {"type": "array", "items": _ref("Record")},
            "next_cursor": {
                "type": ["string", "null"],
                "description": "Where the next page begins; null on the last one.",
            },
        },
    ),
    "Deleted": _object(
        ["id", "version", "deleted"], {"id": _ref("Id"), "version": _VERSION, "deleted": {"const": True}}
    ),
    "FieldsOnly": _object(["fields"], {"fields": _FIELD_VALUES}),
    "Create": _object(
        [],
        {"fields": _FIELD_VALUES, "records": _RECORDS_OF | {"items": _ref("FieldsOnly")}},
        oneOf=_ONE_OF,
    ),
    "ChangeMany": _object(
        ["records"],
        {
            "records": _RECORDS_OF
            | {
                "items": _object(
                    ["id", "fields"],
                    {
                        "id": _ref("Id"),
                        "fields": _FIELD_VALUES,
                        "version": _VERSION | {"description": "Only if the record has this version."},
                    },
                )
            }
        },
    ),
}


def complete(openapi: dict[str, Any]) -> dict[str, Any]:
    """Return `openapi` with the schemas that the routes refer to, and how a caller shows who it is."""
    components = openapi["components"]
    components["schemas"] |= SCHEMAS
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "pb_…"}}
    return openapi
