"""What OpenAPI says of records, deleted ones and changes: the schemas that the routes refer to."""

from typing import Any

from api.data import list_schemas, write_schemas
from api.data.parts import ref
from core.body import MAX_RECORDS
from core.ids import PATTERN

_ONE_OF = [{"required": ["fields"]}, {"required": ["records"]}]
_FIELD_VALUES = ref("Fields")
_VERSION = {"type": "integer", "minimum": 1}


def _object(required: list[str], properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": False,
    } | more


_MOMENT = {"type": "string", "format": "date-time"}
_OR_NULL = {"type": ["string", "null"], "description": "An id."}
_ACTOR = _object(["user_id", "token_id"], {"user_id": _OR_NULL, "token_id": _OR_NULL})
_NEXT_CURSOR = {
    "type": ["string", "null"],
    "description": "Where the next page begins; null on the last one.",
}
_DROPPED_FIELDS = {
    "type": "array",
    "items": ref("Id"),
    "description": "Fields that had a value and are no longer in the table; their values are not told.",
}
_FIELDS_OR_NULL = {
    "type": ["object", "null"],
    "description": "Values by field name; null where there is no record.",
    "additionalProperties": True,
}
_RECORD_MEMBERS: dict[str, Any] = {
    "id": ref("Id"),
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
    "version": _VERSION,
    "fields": _FIELD_VALUES,
}
_DELETED_MEMBERS: dict[str, Any] = _RECORD_MEMBERS | {
    "version": _VERSION | {"description": "That of the deletion; a restore goes on from here."},
    "deleted_at": _MOMENT,
    "deleted_by": _ACTOR,
    "purge_at": _MOMENT | {"description": "Until when it can be restored."},
    "dropped_fields": _DROPPED_FIELDS,
}
_CHANGE_MEMBERS: dict[str, Any] = {
    "version": _VERSION,
    "action": {"type": "string", "enum": ["create", "update", "delete", "restore"]},
    "changed_at": _MOMENT,
    "actor": _ACTOR,
    "operation_id": _OR_NULL,
    "changed": {
        "type": "array",
        "items": {"type": "string"},
        "description": "The names of the fields whose values differ.",
    },
    "before": _FIELDS_OR_NULL,
    "after": _FIELDS_OR_NULL,
    "dropped_fields": _DROPPED_FIELDS,
}

_RECORDS_OF = {"type": "array", "minItems": 1, "maxItems": MAX_RECORDS}
SCHEMAS: dict[str, Any] = {
    "Id": {"type": "string", "pattern": PATTERN, "description": "A ULID in lower case."},
    "Fields": {
        "type": "object",
        "description": "Values by field name; null is empty.",
        "additionalProperties": True,
    },
    "Record": _object(
        ["id", "created_at", "updated_at", "version", "fields"],
        {
            "id": ref("Id"),
            "created_at": {"type": "string", "format": "date-time"},
            "updated_at": {"type": "string", "format": "date-time"},
            "version": _VERSION,
            "fields": _FIELD_VALUES,
        }
        | write_schemas.member(),
    ),
    "Records": _object(
        ["records"], {"records": {"type": "array", "items": ref("Record")}} | write_schemas.member()
    ),
    "RecordPage": _object(
        ["records", "next_cursor"],
        {
            "records": {"type": "array", "items": ref("Record")},
            "next_cursor": {
                "type": ["string", "null"],
                "description": "Where the next page begins; null on the last one.",
            },
        }
        | list_schemas.TOTAL,
    ),
    "Restored": _object(
        [*_RECORD_MEMBERS, "dropped_fields"], _RECORD_MEMBERS | {"dropped_fields": _DROPPED_FIELDS}
    ),
    "History": _object(
        ["changes", "next_cursor", "complete"],
        {
            "changes": {"type": "array", "items": ref("PastChange")},
            "next_cursor": _NEXT_CURSOR,
            "complete": {
                "type": "boolean",
                "description": "Whether the record's creation is still kept; the change log forgets in time.",
            },
        },
    ),
    "PastChange": _object([*_CHANGE_MEMBERS], _CHANGE_MEMBERS),
    "Trash": _object(
        ["records", "next_cursor"],
        {"records": {"type": "array", "items": ref("DeletedRecord")}, "next_cursor": _NEXT_CURSOR},
    ),
    "DeletedRecord": _object([*_DELETED_MEMBERS], _DELETED_MEMBERS),
    "Deleted": _object(
        ["id", "version", "deleted", "purge_at"],
        {
            "id": ref("Id"),
            "version": _VERSION,
            "deleted": {"const": True},
            "purge_at": _MOMENT | {"description": "Until when it can be restored."},
        },
    ),
    "Change": _object(
        [
            *("cursor", "table_id", "record_id", "version", "action", "changed_at", "actor", "operation_id"),
            *("schema_version", "before", "after"),
        ],
        {
            "cursor": {"type": "string", "description": "`after` this change."},
            "table_id": ref("Id"),
            "record_id": ref("Id"),
            "version": _VERSION
            | {"description": "The order of one record's changes: the highest is the newest."},
            "action": {"type": "string", "enum": ["create", "update", "delete", "restore"]},
            "changed_at": {"type": "string", "format": "date-time"},
            "actor": _object(
                ["user_id", "token_id"],
                {"user_id": {"type": ["string", "null"]}, "token_id": {"type": ["string", "null"]}},
            ),
            "operation_id": {"type": ["string", "null"], "description": "The X-Request-Id of the call."},
            "schema_version": {"type": ["integer", "null"], "description": "The table's at that time."},
            "before": {"oneOf": [_FIELD_VALUES, {"type": "null"}]},
            "after": {
                "oneOf": [_FIELD_VALUES, {"type": "null"}],
                "description": "null where it was deleted.",
            },
        },
    ),
    "ChangePage": _object(
        ["changes", "next_cursor", "has_more"],
        {
            "changes": {"type": "array", "items": ref("Change")},
            "next_cursor": {"type": "string", "description": "`after` this page."},
            "has_more": {"type": "boolean", "description": "Whether the next page can be read at once."},
        },
    ),
    "FieldsOnly": _object(["fields"], {"fields": _FIELD_VALUES}),
    "Create": _object(
        [],
        {"fields": _FIELD_VALUES, "records": _RECORDS_OF | {"items": ref("FieldsOnly")}},
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
                        "id": ref("Id"),
                        "fields": _FIELD_VALUES,
                        "version": _VERSION | {"description": "Only if the record has this version."},
                    },
                )
            }
        },
    ),
}
