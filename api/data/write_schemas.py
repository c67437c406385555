"""What OpenAPI says of the ways to write: by rows, by a unique value, by filter, on trial, with a typecast."""

from typing import Any

from api.data.parts import parameter, ref
from core.body import MAX_RECORDS
from core.schema.types import Mode

MODE = parameter(
    "query",
    "mode",
    "`atomic`: all records or none. `per_row`: each by itself, answered by its outcome, 207 where one was refused.",
    {"type": "string", "enum": ["atomic", "per_row"], "default": "atomic"},
)
UPSERT = parameter(
    "query",
    "upsert",
    "The name of a unique field: a record that is there with the same value is changed, any other is created.",
    {"type": "string"},
)
TYPECAST = parameter(
    "query",
    "typecast",
    "Whether a value that its field refuses is turned into one that it takes; each is then told in `coercions`.",
    {"type": "string", "enum": [mode.value for mode in Mode], "default": Mode.OFF.value},
)
MAX_AFFECTED = parameter(
    "query",
    "max-affected",
    "With `filter`, how many records may be affected at most; or the preference of this name.",
    {"type": "integer", "minimum": 1, "maximum": MAX_RECORDS},
)
FILTER = parameter("query", "filter", "Which records, as in a list.", {"type": "string", "maxLength": 8000})
TIMEZONE = parameter(
    "query", "timezone", "With `filter`, where days begin, as in a list.", {"type": "string"}
)
PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`tx=rollback` tries the call and keeps nothing of it; `max-affected=n`; `handling=strict` refuses"
    " preferences that are not known.",
    "schema": {"type": "string"},
    "required": False,
    "example": "tx=rollback",
}
APPLIED = {
    "Preference-Applied": {
        "description": "`tx=rollback` where nothing was kept.",
        "schema": {"type": "string", "enum": ["tx=rollback"]},
    }
}

_OUTCOMES = ("created", "updated", "unchanged", "deleted", "error")
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code", "errors"],
    "description": "A problem, of one record.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
_COERCIONS = {
    "type": "array",
    "items": ref("Coercion"),
    "description": "Only where a typecast was asked for.",
}
SCHEMAS: dict[str, Any] = {
    "Coercion": {
        "type": "object",
        "required": ["record", "field", "from", "to", "rule"],
        "additionalProperties": False,
        "properties": {
            "record": {"type": "integer", "minimum": 0},
            "field": {"type": "string"},
            "from": {},
            "to": {},
            "rule": {"type": "string"},
        },
    },
    "Outcome": {
        "type": "object",
        "required": ["status"],
        "additionalProperties": False,
        "properties": {
            "status": {"type": "string", "enum": list(_OUTCOMES)},
            "id": ref("Id"),
            "version": {"type": "integer", "minimum": 1},
            "error": _PROBLEM,
            "coercions": _COERCIONS,
        },
    },
    "Outcomes": {
        "type": "object",
        "required": ["records"],
        "additionalProperties": False,
        "properties": {
            "records": {"type": "array", "items": ref("Outcome")},
            "count": {
                "type": "integer",
                "minimum": 0,
                "description": "By filter: how many records it found.",
            },
            "coercions": _COERCIONS,
        },
    },
}


def member() -> dict[str, Any]:
    """Return the member that tells of coercions, for the schemas of records."""
    return {"coercions": _COERCIONS}


def by_rows(statuses: tuple[int, ...], *answers: str) -> dict[int, dict[str, Any]]:
    """Return the answers of a call that is answered by rows, with the headers that all writes have."""
    content = {"application/json": {"schema": {"anyOf": [ref(name) for name in answers]}}}
    words = {200: "Done.", 207: "Done, but for the records with an error."}
    return {
        status: {"description": words.get(status, "Done."), "content": content, "headers": APPLIED}
        for status in statuses
    }
