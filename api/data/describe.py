"""What OpenAPI says of the record routes: their parameters, bodies and answers."""

from typing import Any

from api.data import list_schemas, query_schemas, record_schemas, write_schemas
from api.data.parts import parameter, ref
from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from api.problems import problems
from core.history import DEFAULT_ENTRIES, MAX_ENTRIES

_JSON = "application/json"
_ANY = (400, 401, 403, 404, 503)


def _path(name: str, what: str) -> dict[str, Any]:
    return parameter("path", name, f"The id of the {what}.", {"$ref": "#/components/schemas/Id"})


_TABLE = [_path("base_id", "base"), _path("table_id", "table")]
_RECORD = [*_TABLE, _path("record_id", "record")]
_FIELDS = parameter(
    "query",
    "fields",
    "Only these fields, separated by commas; a name with a comma stands in double quotes.",
    {"type": "string"},
)
_KEY = parameter(
    "header",
    "Idempotency-Key",
    "Of the caller's choice. The call is done once; a repetition within 24 hours answers the same.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
)
_IF_MATCH = parameter(
    "header", "If-Match", "Only if the record has this version.", {"type": "string"}, example='"v3"'
)
_IF_NONE_MATCH = parameter(
    "header",
    "If-None-Match",
    "Answer 304 if the record has this version.",
    {"type": "string"},
    example='"v3"',
)
_LIMIT = parameter(
    "query",
    "limit",
    "How many records at most.",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
)
_CURSOR = parameter("query", "cursor", "`next_cursor` of the page before.", {"type": "string"})
_AS_OF = parameter(
    "query",
    "as_of",
    "As it was at this moment; 410 for one before what is kept. A list of the past is in the order of ids, without"
    " filter and sort, and a page may have fewer records than there are.",
    {"type": "string", "format": "date-time"},
)
_LISTED = [
    _LIMIT,
    parameter(
        "query",
        "sort",
        "Field names, separated by commas, each with a minus for descending. Besides the table's own fields there"
        " are id, created_at, updated_at and version. Empty values come last, or first where descending.",
        {"type": "string"},
        example="-Amount,Name",
    ),
    parameter(
        "query",
        "filter",
        "`field.operator.value`, joined by and(…,…), or(…,…) and not(…). Which operators there are hangs on the field's"
        " type: eq, ne, in, not_in, is (null or not_null), lt, lte, gt, gte, between; of texts contains, starts_with,"
        " ends_with, the same and eq with an i before them without regard to case, and search; of dates within; of"
        " several choices has_any, has_all and has_none. Lists stand in brackets. A name or value with a comma, dot,"
        " bracket or quote stands in double quotes. A comparison with an empty field is false; what denies is true.",
        {"type": "string", "maxLength": 8000},
        example="and(Status.eq.open,or(Amount.gt.100,Due.is.null))",
    ),
    _FIELDS,
    list_schemas.VIEW,
    list_schemas.COUNT,
    _CURSOR,
    _AS_OF,
    parameter(
        "query",
        "timezone",
        "Where `today` and its like begin and end.",
        {"type": "string", "default": "UTC"},
        example="Europe/Berlin",
    ),
    parameter(
        "query",
        "explain",
        "Answer how the query was understood and what it would cost, instead of records.",
        {"type": "boolean", "default": False},
    ),
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


_WRITTEN = (409, 413, 415, 422)
_CHANGED = (*_WRITTEN, 412)
_LISTING = {"oneOf": [ref("RecordPage"), ref("Explanation")]}
LIST = _route("List records", [*_TABLE, *_LISTED], 200, _LISTING, statuses=(410, 413, 422, 429))
LIST["responses"][200]["content"] |= list_schemas.LINES
QUERY = _route("Query records", _TABLE, 200, _LISTING, statuses=(410, 413, 415, 422), body=ref("Query"))
GET = _route(
    "Read a record",
    [*_RECORD, _FIELDS, _AS_OF, _IF_NONE_MATCH],
    200,
    ref("Record"),
    statuses=(410, 413),
    headers=_ETAG,
)
GET["responses"][304] = {"description": "The caller has this version.", "headers": _ETAG}
_WAYS = [_KEY, write_schemas.PREFER]
_BY_FILTER = [write_schemas.FILTER, write_schemas.TIMEZONE, write_schemas.MAX_AFFECTED]
CREATE = _route(
    "Create records",
    [*_TABLE, *_WAYS, write_schemas.MODE, write_schemas.UPSERT, write_schemas.TYPECAST],
    201,
    {"anyOf": [ref("Record"), ref("Records"), ref("Outcome")]},
    statuses=_WRITTEN,
    headers=_ETAG | _LOCATION | _HIT | write_schemas.APPLIED,
    body=ref("Create"),
)
CREATE["responses"] |= write_schemas.by_rows((200, 207), "Outcome", "Outcomes")
MERGE = _route(
    "Change a record",
    [*_RECORD, *_WAYS, _IF_MATCH, write_schemas.TYPECAST],
    200,
    ref("Record"),
    statuses=_CHANGED,
    headers=_ETAG | _HIT | write_schemas.APPLIED,
    body=ref("FieldsOnly"),
)
REPLACE = MERGE | {"summary": "Replace a record"}
MERGE_MANY = _route(
    "Change records",
    [*_TABLE, *_WAYS, write_schemas.MODE, write_schemas.TYPECAST, *_BY_FILTER],
    200,
    {"anyOf": [ref("Records"), ref("Outcomes")]},
    statuses=_CHANGED,
    headers=_HIT | write_schemas.APPLIED,
    body={"anyOf": [ref("ChangeMany"), ref("FieldsOnly")]},
)
MERGE_MANY["responses"] |= write_schemas.by_rows((207,), "Outcomes")
REPLACE_MANY = _route(
    "Replace records",
    [*_TABLE, *_WAYS, write_schemas.MODE, write_schemas.TYPECAST],
    200,
    {"anyOf": [ref("Records"), ref("Outcomes")]},
    statuses=_CHANGED,
    headers=_HIT | write_schemas.APPLIED,
    body=ref("ChangeMany"),
)
REPLACE_MANY["responses"] |= write_schemas.by_rows((207,), "Outcomes")
DELETE = _route(
    "Delete a record",
    [*_RECORD, *_WAYS, _IF_MATCH],
    200,
    ref("Deleted"),
    statuses=_CHANGED,
    headers=_HIT | write_schemas.APPLIED,
)
DELETE_MANY = _route(
    "Delete records",
    [
        *_TABLE,
        *_WAYS,
        write_schemas.MODE,
        *_BY_FILTER,
        parameter(
            "query",
            "id",
            "The records, once each; or `filter`.",
            {"type": "array", "items": ref("Id"), "minItems": 1, "maxItems": 100},
            style="form",
            explode=True,
        ),
    ],
    200,
    {
        "anyOf": [
            {
                "type": "object",
                "required": ["records"],
                "properties": {"records": {"type": "array", "items": ref("Deleted")}},
            },
            ref("Outcomes"),
        ]
    },
    statuses=_WRITTEN,
    headers=_HIT | write_schemas.APPLIED,
)
DELETE_MANY["responses"] |= write_schemas.by_rows((207,), "Outcomes")

CHANGES = _route(
    "Follow a base's changes",
    [
        _path("base_id", "base"),
        parameter(
            "query",
            "after",
            "A cursor of this feed: `next_cursor` of a page, or that of an entry. `latest` begins now. Without it the"
            " feed begins at the oldest change that is kept.",
            {"type": "string"},
            example="latest",
        ),
        parameter(
            "query",
            "limit",
            "How many changes at most.",
            {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        ),
        parameter(
            "query",
            "wait",
            "For how many seconds a call that has nothing to tell waits for something.",
            {"type": "integer", "minimum": 0, "maximum": 30, "default": 0},
        ),
        parameter(
            "query",
            "tables",
            "Only changes in these tables: up to 100 ids, separated by commas. They may differ from page to page.",
            {"type": "string"},
        ),
        parameter(
            "query",
            "fields",
            "With one table in `tables`: only values of these fields, separated by commas.",
            {"type": "string"},
        ),
    ],
    200,
    ref("ChangePage"),
    statuses=(410, 429),
)
OPENAPI = _route(
    "Describe a base",
    [
        _path("base_id", "base"),
        parameter(
            "header",
            "If-None-Match",
            "Answer 304 if this is still the description.",
            {"type": "string"},
            example='"c7-0123456789abcdef"',
        ),
    ],
    200,
    {"type": "object", "description": "OpenAPI 3.1, typed by the base's own tables and fields."},
    headers={"ETag": {"description": "The description's version.", "schema": {"type": "string"}}},
)
OPENAPI["responses"][304] = {"description": "The caller has this version."}
DOCS: dict[str, Any] = {
    "summary": "Read a base's description",
    "response_model": None,
    "responses": {
        200: {"description": "A page for people.", "content": {"text/html": {"schema": {"type": "string"}}}}
    }
    | problems(404),
    "openapi_extra": {"parameters": [_path("base_id", "base")]},
}

HISTORY = _route(
    "List a record's changes",
    [
        *_RECORD,
        parameter(
            "query",
            "limit",
            "How many changes at most.",
            {"type": "integer", "minimum": 1, "maximum": MAX_ENTRIES, "default": DEFAULT_ENTRIES},
        ),
        _CURSOR,
    ],
    200,
    ref("History"),
    statuses=(410, 413),
)
TRASH = _route("List deleted records", [*_TABLE, _LIMIT, _CURSOR], 200, ref("Trash"), statuses=(410, 413))
RESTORE = _route(
    "Restore a record",
    [*_RECORD, _KEY, _IF_MATCH],
    200,
    ref("Restored"),
    statuses=(*_CHANGED, 410),
    headers=_ETAG | _HIT,
    body=ref("FieldsOnly"),
)
RESTORE["openapi_extra"]["requestBody"]["required"] = False


def complete(openapi: dict[str, Any]) -> dict[str, Any]:
    """Return `openapi` with the schemas that the routes refer to, and how a caller shows who it is."""
    components = openapi["components"]
    components["schemas"] |= (
        record_schemas.SCHEMAS | list_schemas.SCHEMAS | query_schemas.SCHEMAS | write_schemas.SCHEMAS
    )
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "pb_…"}}
    return openapi
