"""OpenAPI's schemas of a query in a body, of a filter in JSON, and of how a query would be answered."""

from typing import Any

from api.paging import DEFAULT_LIMIT, MAX_LIMIT
from core.filter.tree import MAX_VALUES, Quantifier
from core.schema.types import Operator
from db.data.explaining import CostClass

_CONDITION = {"$ref": "#/components/schemas/Filter"}
_FIELD = {"type": "string", "description": "A field's name, or id, created_at, updated_at or version."}
_ONE = {"type": ["string", "number", "boolean"]}
_OPERATORS = sorted("is" if operator is Operator.IS_NULL else operator.value for operator in Operator)


def _object(required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    }


_COMPARISON = _object(
    ["field", "op", "value"],
    {
        "field": _FIELD,
        "op": {"type": "string", "enum": _OPERATORS},
        "value": {
            "anyOf": [_ONE, {"type": "array", "items": _ONE, "maxItems": MAX_VALUES}],
            "description": "As a record has it; `null` or `not_null` for `is`; a list for in, not_in, between and of"
            " a field of several choices; for a date or datetime also a word such as `today` or `last_7_days`.",
        },
    },
)
_PARTS = {"type": "array", "items": _CONDITION, "minItems": 1}
_SORT = _object(
    ["field"],
    {"field": _FIELD, "direction": {"type": "string", "enum": ["asc", "desc"], "default": "asc"}},
)
SCHEMAS: dict[str, Any] = {
    "Filter": {
        "description": "One condition, or a tree of them.",
        "anyOf": [
            _COMPARISON,
            _object(["and"], {"and": _PARTS}),
            _object(["or"], {"or": _PARTS}),
            _object(["not"], {"not": _CONDITION}),
            *(_object(["field", q.value], {"field": _FIELD, q.value: _CONDITION}) for q in Quantifier),
        ],
    },
    "Query": _object(
        [],
        {
            "filter": _CONDITION,
            "sort": {"type": "array", "items": _SORT, "minItems": 1, "maxItems": 5},
            "fields": {"type": "array", "items": {"type": "string"}, "minItems": 1},
            "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
            "cursor": {"type": "string"},
            "timezone": {"type": "string", "default": "UTC"},
            "view": {"type": "string", "description": "A view's id or name."},
            "count": {"type": "string", "enum": ["exact"]},
            "explain": {"type": "boolean", "default": False},
        },
    ),
    "Explanation": _object(
        ["filter", "sort", "indexes", "cost_class", "estimated_rows"],
        {
            "filter": {"anyOf": [_CONDITION, {"type": "null"}]},
            "sort": {"type": "array", "items": _SORT},
            "indexes": {
                "type": "array",
                "description": "The table's indexes that would be used, each by its fields.",
                "items": _object(
                    ["fields", "unique"],
                    {
                        "fields": {"type": "array", "items": {"type": "string"}},
                        "unique": {"type": "boolean"},
                    },
                ),
            },
            "cost_class": {
                "type": "string",
                "enum": [cost.value for cost in CostClass],
                "description": "How the work grows: `index` with the page, `walk` with the records passed over, `sort`"
                " with the records found, `scan` with the table.",
            },
            "estimated_rows": {
                "type": "integer",
                "description": "How many records PostgreSQL expects the filter to find.",
            },
        },
    ),
}
