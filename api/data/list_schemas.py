"""What OpenAPI says of the ways to list: through a view, with a total, as lines."""

from typing import Any

from api.data.pages import BUSY, COUNT_MAX_S, EXACT, TOOK_TOO_LONG
from api.data.parts import parameter, ref
from api.data.streams import MAX_S, MEDIA_TYPE

VIEW = parameter(
    "query",
    "view",
    "The id or name of a view of the table. `filter` is added to the view's own; `sort` and `fields` replace its own.",
    {"type": "string"},
)
COUNT = parameter(
    "query",
    "count",
    f"`{EXACT}` adds `total`, the number of records on all pages together. It is null, with a `total_reason`, where"
    f" counting would take longer than {COUNT_MAX_S:.0f} seconds or too many are counting.",
    {"type": "string", "enum": [EXACT]},
)
TOTAL: dict[str, Any] = {
    "total": {"type": ["integer", "null"], "minimum": 0, "description": "With `count`: how many there are."},
    "total_reason": {"type": "string", "enum": [TOOK_TOO_LONG, BUSY], "description": "Why `total` is null."},
}
LINES = {MEDIA_TYPE: {"schema": ref("RecordLine")}}
"""For whoever accepts lines."""
SCHEMAS: dict[str, Any] = {
    "RecordLine": {
        "description": "One line of a stream: a record, or on the last line how it ended. Without such a last line a"
        f" stream is incomplete. It goes on for {MAX_S:.0f} seconds at most, and takes neither `limit` nor `count`.",
        "oneOf": [
            ref("Record"),
            {
                "type": "object",
                "required": ["end", "count"],
                "properties": {"end": {"const": True}, "count": {"type": "integer", "minimum": 0}},
                "additionalProperties": False,
            },
            {
                "type": "object",
                "required": ["problem", "next_cursor"],
                "properties": {
                    "problem": ref("Problem"),
                    "next_cursor": {
                        "type": ["string", "null"],
                        "description": "Where a stream or a list of the same query goes on; null if none can.",
                    },
                },
                "additionalProperties": False,
            },
        ],
    },
}
