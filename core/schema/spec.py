"""What a base should look like: its tables, fields and views."""

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    StrictBool,
    StrictInt,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from core.errors import Invalid
from core.ids import Ulid, UlidStr
from core.retention import MAX_TRASH_DAYS, TRASH_DAYS
from core.schema.closed import Closed, failing, faults, nearest
from core.schema.naming import Name, fold
from core.schema.types import TYPES, FieldType
from core.schema.types.json import check_json

MAX_TABLES = 200
MAX_FIELDS = 300
MAX_VIEWS = 100
MAX_FIELDS_IN_ALL = 5_000
MAX_DEFINITION_BYTES = 65_536
MAX_SPEC_BYTES = 1_000_000
"""A spec travels through Temporal, whose payloads end at 2 MB; its plan is kept in the registry."""

SYSTEM_FIELDS = ("id", "created_at", "created_by", "updated_at", "updated_by", "version")
"""What every record has anyway; no field may be called so."""


class Entry(Closed):
    """What has an id once it exists; sent without one it is the present entry of its name, else a new one."""

    id: UlidStr | None = None
    name: Name

    @property
    def key(self) -> Ulid:
        """The id of an entry that has one."""
        if self.id is None:
            raise ValueError(f"{self.name!r} has no id yet")
        return Ulid(self.id)


E = TypeVar("E", bound=Entry)


def _distinct(entries: Sequence[E]) -> Sequence[E]:
    names: dict[str, int] = {}
    ids: dict[str, int] = {}
    found: list[tuple[tuple[str | int, ...], str, str]] = []
    for place, entry in enumerate(entries):
        if (other := names.setdefault(fold(entry.name), place)) != place:
            found.append(
                ((place, "name"), "duplicate_name", f"{entries[other].name!r} has this name already")
            )
        if entry.id and (other := ids.setdefault(entry.id, place)) != place:
            found.append(((place, "id"), "duplicate_id", f"{entries[other].name!r} has this id already"))
    if found:
        raise failing(*found)
    return entries


def _small(definition: dict[str, Any]) -> dict[str, Any]:
    check_json(definition)
    if len(json.dumps(definition, ensure_ascii=False).encode()) > MAX_DEFINITION_BYTES:
        raise ValueError(f"a definition has at most {MAX_DEFINITION_BYTES} bytes")
    return definition


class FieldSpec(Entry):
    """A field: its options are complete once it is read, so that later defaults change no existing field."""

    type: str
    options: Annotated[dict[str, Any], Field(validate_default=True)] = {}
    required: StrictBool = False
    unique: StrictBool = False

    @field_validator("name")
    @classmethod
    def _not_a_system_field(cls, name: str) -> str:
        if fold(name) in SYSTEM_FIELDS:
            raise PydanticCustomError("reserved_name", "every record has its own {name}", {"name": name})
        return name

    @field_validator("type")
    @classmethod
    def _known_type(cls, name: str) -> str:
        if name not in TYPES:
            raise PydanticCustomError(
                "unknown_type", "{words}", {"words": nearest("field type", name, TYPES)}
            )
        return name

    @field_validator("options")
    @classmethod
    def _complete(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "type" not in info.data:
            return options
        complete: dict[str, Any] = (
            TYPES[info.data["type"]].options.model_validate(options).model_dump(mode="json")
        )
        return complete

    @field_validator("required")
    @classmethod
    def _can_be_required(cls, required: bool, info: ValidationInfo) -> bool:
        if required and "type" in info.data and not TYPES[info.data["type"]].writable:
            words = f"a value of type {info.data['type']} is computed: nobody can leave it out"
            raise PydanticCustomError("cannot_be_required", "{words}", {"words": words})
        return required

    @field_validator("unique")
    @classmethod
    def _can_be_unique(cls, unique: bool, info: ValidationInfo) -> bool:
        if unique and "type" in info.data and "options" in info.data:
            kind = TYPES[info.data["type"]]
            reason = kind.why_not_unique(kind.options.model_validate(info.data["options"]))
            if reason:
                raise PydanticCustomError("cannot_be_unique", "{words}", {"words": reason})
        return unique

    @property
    def kind(self) -> FieldType[Any]:
        """The field's type."""
        return TYPES[self.type]

    @property
    def settings(self) -> Any:
        """The options, read."""
        return self.kind.options.model_validate(self.options)


class ViewSpec(Entry):
    """A view: how a table is shown. What its definition holds is the portal's business."""

    kind: Literal["grid", "form", "kanban", "gantt", "gallery"]
    definition: Annotated[dict[str, Any], AfterValidator(_small)] = {}


class TableSpec(Entry):
    """A table with its fields and views, in the order in which they are shown."""

    display_name: Name | None = None
    trash_days: Annotated[StrictInt, Field(ge=1, le=MAX_TRASH_DAYS)] = TRASH_DAYS
    """For how many days a deleted record can be restored."""
    fields: Annotated[tuple[FieldSpec, ...], Field(max_length=MAX_FIELDS), AfterValidator(_distinct)] = ()
    views: Annotated[tuple[ViewSpec, ...], Field(max_length=MAX_VIEWS), AfterValidator(_distinct)] = ()

    def field(self, field_id: str) -> FieldSpec:
        """Return the field with this id; KeyError when there is none."""
        return _find(self.fields, field_id)

    def view(self, view_id: str) -> ViewSpec:
        """Return the view with this id; KeyError when there is none."""
        return _find(self.views, view_id)


class BaseSpec(Closed):
    """A base: what the portal sends, what the registry keeps."""

    tables: Annotated[tuple[TableSpec, ...], Field(max_length=MAX_TABLES), AfterValidator(_distinct)] = ()

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        count = sum(len(table.fields) for table in self.tables)
        if count > MAX_FIELDS_IN_ALL:
            words = f"{count} fields in all, where a base has at most {MAX_FIELDS_IN_ALL}"
            raise failing((("tables",), "too_many_fields", words))
        size = len(canonical(self))
        if size > MAX_SPEC_BYTES:
            words = f"the spec has {size} bytes, where a base has at most {MAX_SPEC_BYTES}"
            raise failing((("tables",), "spec_too_large", words))
        return self

    def table(self, table_id: str) -> TableSpec:
        """Return the table with this id; KeyError when there is none."""
        return _find(self.tables, table_id)


def read_spec(raw: Any) -> BaseSpec:
    """Return the spec in a body, JSON or parsed; Invalid, with a pointer for every fault, when it is none."""
    try:
        if isinstance(raw, bytes | str):
            return BaseSpec.model_validate_json(raw)
        return BaseSpec.model_validate(raw)
    except ValidationError as error:
        raise Invalid("this is not the spec of a base", faults(error), code="invalid_spec") from None


def canonical(spec: BaseSpec) -> bytes:
    """Return the one JSON text of a spec: equal specs, and only they, have equal bytes."""
    plain = spec.model_dump(mode="json")
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "replace"
    )


def ddl_hash(spec: BaseSpec) -> str:
    """Return the SHA-256 of the canonical spec, in hex."""
    return sha256(canonical(spec)).hexdigest()


def _find(entries: Iterable[E], entry_id: str) -> E:
    for entry in entries:
        if entry.id == entry_id:
            return entry
    raise KeyError(entry_id)
