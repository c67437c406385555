"""A base's own OpenAPI document: the general one, with each table's routes spelled out and typed by its fields."""

import copy
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from core.record import Field, Table
from core.schema.types import FieldType, Operator, Options

Json = dict[str, Any]

_TABLE = "/bases/{base_id}/tables/{table_id}"
_BASE = "/bases/{base_id}"
_REF = "#/components/schemas/"
_FIELDS = "Fields"
_PATH_IDS = ("base_id", "table_id")
_NAME = re.compile(r"[^A-Za-z0-9]+")
_SAMPLES: tuple[Any, ...] = (
    {"key": "value"},
    "Ada",
    "2026-11-24",
    "2026-11-24T12:00:00+00:00",
    "ada@example.com",
    "https://example.com/ada",
    "+493012345678",
    "01kg0000000000000000000000",
    "6f1c1b4e-0b8a-4d0a-9b8e-2f6f8a1f7c11",
    3,
    1.5,
    True,
    ["01kg0000000000000000000000"],
)


def document(general: Json, base_id: str, tables: Iterable[Table], version: str, *, writes: bool) -> Json:
    """Return what `general`, the API's description, says of one base; without `writes` only what reads."""
    made = _Document(general, base_id, writes=writes)
    for table in sorted(tables, key=lambda table: (table.name.casefold(), table.id)):
        made.add(table)
    return made.whole(version)


@lru_cache(4_096)
def value_schema(kind: FieldType[Any], options: Options) -> Json:
    """Return the JSON Schema of a field's value, as the check of a body has it, with an example that it accepts."""
    adapter: TypeAdapter[Any] = TypeAdapter(kind.annotation(options))
    schema = adapter.json_schema()
    members = schema.get("enum") or [schema["const"]] if "const" in schema or "enum" in schema else []
    of = schema.get("items", {})
    items = [[each] for each in of.get("enum", [of["const"]] if "const" in of else [])]
    for sample in (*members[:1], *items[:1], *_SAMPLES):
        try:
            adapter.validate_json(to_json(sample), strict=True)
        except ValidationError:
            continue
        return schema | {"examples": [sample]}
    return schema


def field_schema(field: Field) -> Json:
    """Return the JSON Schema of a field in a record: computed ones are `readOnly`, optional ones may be null."""
    schema = dict(value_schema(field.type, field.options))
    known: Json = {
        "x-field-id": field.id,
        "x-field-type": field.type.name,
        "x-operators": [operator.value for operator in field.type.operators],
    }
    if field.unique:
        known["x-unique"] = True
    if not field.type.writable:
        known["readOnly"] = True
    if field.required or not schema.keys() - {"examples"}:  # any JSON has null in it
        return schema | known
    if isinstance(schema.get("type"), str) and not schema.keys() & {"enum", "const"}:
        return schema | {"type": [schema["type"], "null"]} | known
    examples = {"examples": schema.pop("examples")} if "examples" in schema else {}
    return {"anyOf": [schema, {"type": "null"}]} | examples | known


class _Document:
    def __init__(self, general: Json, base_id: str, *, writes: bool) -> None:
        self._general = general
        self._base_id = base_id
        self._writes = writes
        self._schemas: Json = {}
        self._parameters: Json = {}
        self._responses: Json = {}
        self._paths: Json = {}
        self._tags: list[Json] = []
        self._typed = _leading_to(_FIELDS, general["components"]["schemas"])
        for path, item in general["paths"].items():
            if path.startswith(_BASE) and not path.startswith(_TABLE):
                self._add(path, item, None)

    def add(self, table: Table) -> None:
        """Spell out the routes of a table."""
        self._tags.append(
            {"name": table.name, "description": f"The table {table.id}.", "x-table-id": table.id}
        )
        properties = {field.name: field_schema(field) for field in table.fields}
        writable = {field.name: properties[field.name] for field in table.writable}
        required = [field.name for field in table.writable if field.required]
        closed: Json = {"type": "object", "additionalProperties": False}
        read = closed | {"title": table.name, "properties": properties}
        change = closed | {"title": f"{table.name} (to change)", "properties": writable}
        write: Json = {"$ref": f"{_REF}Fields_change_{table.id}", "title": f"{table.name} (to write)"}
        self._schemas[f"Fields_{table.id}"] = read
        if self._writes:
            self._schemas[f"Fields_change_{table.id}"] = change
            self._schemas[f"Fields_write_{table.id}"] = write | ({"required": required} if required else {})
        for path, item in self._general["paths"].items():
            if path.startswith(_TABLE):
                self._add(path, item, table)

    def whole(self, version: str) -> Json:
        """Return the document."""
        general = self._general
        return {
            "openapi": general["openapi"],
            "info": {"title": f"Base {self._base_id}", "version": version, "description": _DESCRIPTION},
            "servers": [{"url": "/"}],
            "tags": self._tags,
            "paths": self._paths,
            "components": {
                "schemas": self._schemas,
                "parameters": self._parameters,
                "responses": self._responses,
                "securitySchemes": general["components"]["securitySchemes"],
            },
        }

    def _add(self, path: str, item: Json, table: Table | None) -> None:
        found = {
            method: self._operation(path, method, operation, table) for method, operation in item.items()
        }
        kept = {method: operation for method, operation in found.items() if operation is not None}
        if kept:
            concrete = path.replace("{base_id}", self._base_id)
            self._paths[concrete if table is None else concrete.replace("{table_id}", table.id)] = kept

    def _operation(self, path: str, method: str, general: Json, table: Table | None) -> Json | None:
        parameters = [p for p in general.get("parameters", ()) if p["name"] not in _PATH_IDS]
        if not self._writes and any(p["name"] == "Idempotency-Key" for p in parameters):
            return None
        made = copy.deepcopy({k: v for k, v in general.items() if k not in ("parameters", "responses")})
        name = general["operationId"].split("_bases_")[0]
        made["operationId"] = name if table is None else f"{name}_{table.id}"
        made["tags"] = ["base" if table is None else table.name]
        if table is not None:
            made["x-table-id"] = table.id
        made["parameters"] = [self._parameter(p, table) for p in parameters]
        if "requestBody" in made:
            is_whole = method == "put" or (method == "post" and path == f"{_TABLE}/records")
            made["requestBody"] = self._typed_for(
                made["requestBody"], table, "write" if is_whole else "change"
            )
            if table is not None and path == f"{_TABLE}/records/query":
                made["requestBody"]["content"]["application/json"]["example"] = _query(table)
        made["responses"] = {
            status: self._response(status, answer, table) for status, answer in general["responses"].items()
        }
        return made

    def _parameter(self, general: Json, table: Table | None) -> Json:
        made: Json = self._typed_for(copy.deepcopy(general), table, None)
        example = None if table is None else _example(general["name"], table)
        if table is not None and example is not None:
            name = f"{general['name']}_{table.id}"
            self._parameters[name] = made | {"example": example}
            return {"$ref": f"#/components/parameters/{name}"}
        if table is not None:
            made.pop("example" if general["name"] in ("fields", "sort", "filter") else "", None)
        name = f"{general['in']}_{_NAME.sub('_', general['name'])}"
        while self._parameters.setdefault(name, made) != made:
            name += "_"
        return {"$ref": f"#/components/parameters/{name}"}

    def _response(self, status: str, general: Json, table: Table | None) -> Json:
        made: Json = self._typed_for(copy.deepcopy(general), table, None)
        if int(status) < 400:
            return made
        name = f"Status{status}"
        while self._responses.setdefault(name, made) != made:
            name += "_"
        return {"$ref": f"#/components/responses/{name}"}

    def _typed_for(self, part: Any, table: Table | None, mode: str | None) -> Any:
        """Return `part` with references to schemas of this document; those with fields in them become the table's."""
        if isinstance(part, list):
            return [self._typed_for(each, table, mode) for each in part]
        if not isinstance(part, dict):
            return part
        made = {key: self._typed_for(value, table, mode) for key, value in part.items()}
        if isinstance(part.get("$ref"), str) and part["$ref"].startswith(_REF):
            made["$ref"] = _REF + self._schema(part["$ref"].removeprefix(_REF), table, mode)
        return made

    def _schema(self, general: str, table: Table | None, mode: str | None) -> str:
        if table is None or general not in self._typed:
            name, table = general, None
        else:
            name = "_".join(filter(None, (general, mode, table.id)))
        if name not in self._schemas:
            self._schemas[name] = {}  # a schema may lead to itself
            found = copy.deepcopy(self._general["components"]["schemas"][general])
            self._schemas[name] = self._typed_for(found, table, mode)
        return name


_DESCRIPTION = """This base's tables with their own fields. Addresses and schemas are named by ids, which stay when
something is renamed. A value that is left out of a change stays as it is; `readOnly` fields are computed."""


def _leading_to(target: str, schemas: Json) -> set[str]:
    """The schemas that refer to `target`, themselves or through others."""
    refers = {
        name: set(re.findall(f'"{_REF}([^"]+)"', to_json(schema).decode()))
        for name, schema in schemas.items()
    }
    found = {target}
    while more := {name for name, others in refers.items() if others & found} - found:
        found |= more
    return found


def _example(parameter: str, table: Table) -> str | None:
    match parameter:
        case "fields":
            return ",".join(_quoted(field.name) for field in table.fields[:2]) or None
        case "sort":
            sortable = [field for field in table.fields if field.type.sortable]
            return f"-{_quoted(sortable[0].name)}" if sortable else "-created_at"
        case "filter":
            equal = [field for field in table.fields if Operator.IS_NULL in field.type.operators]
            return f"{_quoted(equal[0].name)}.is.not_null" if equal else None
    return None


def _query(table: Table) -> Json:
    order: Json = {"sort": [{"field": "created_at", "direction": "desc"}], "limit": 10}
    for field in table.fields:
        examples = value_schema(field.type, field.options).get("examples", [])
        if Operator.EQ in field.type.operators and examples and not isinstance(examples[0], list | dict):
            return {"filter": {"field": field.name, "op": "eq", "value": examples[0]}} | order
    return order


def _quoted(name: str) -> str:
    if name.isidentifier():
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
