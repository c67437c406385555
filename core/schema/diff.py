"""What must be done to a base so that it is as desired."""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import ValidationError

from core.errors import Fault, Invalid
from core.ids import Ulid
from core.schema.closed import pointer
from core.schema.identify import identify
from core.schema.ops import Op
from core.schema.ops.add_field import AddField
from core.schema.ops.arrange import Arrange
from core.schema.ops.change_options import ChangeOptions
from core.schema.ops.change_type import ChangeType
from core.schema.ops.clear_required import ClearRequired
from core.schema.ops.clear_unique import ClearUnique
from core.schema.ops.create_table import CreateTable
from core.schema.ops.create_view import CreateView
from core.schema.ops.drop_field import DropField
from core.schema.ops.drop_table import DropTable
from core.schema.ops.drop_view import DropView
from core.schema.ops.index_field import IndexField
from core.schema.ops.narrow_options import NarrowOptions
from core.schema.ops.rename_field import RenameField
from core.schema.ops.rename_table import RenameTable
from core.schema.ops.require_field import RequireField
from core.schema.ops.set_trash import SetTrash
from core.schema.ops.set_unique import SetUnique
from core.schema.ops.update_view import UpdateView
from core.schema.ops.validate_required import ValidateRequired
from core.schema.plan import Plan, follow
from core.schema.renames import renames
from core.schema.spec import BaseSpec, Entry, FieldSpec, TableSpec
from core.schema.types import TYPES, Change

MAX_STEPS = 2_000
"""Each step is in the history of the run that takes it, which must stay readable."""

_INSTEAD = "add a new field as you want it, copy the values, then drop this one"


def diff(current: BaseSpec, desired: BaseSpec, ids: Iterator[Ulid]) -> Plan:
    """Return the plan from `current`, which has all its ids, to `desired`; new entries get theirs from `ids`.

    Raises Invalid, with a pointer into `desired` for each, where a change cannot be made in place.
    """
    wanted = identify(current, desired, ids)
    refused: list[Fault] = []
    found = [*_tables(current, wanted)]
    for place, table in enumerate(wanted.tables):
        at = pointer("tables", place)
        present = next((t for t in current.tables if t.id == table.id), None)
        if present is not None:
            if present.trash_days != table.trash_days:
                found.append(
                    SetTrash(
                        pointer=at + "/trash_days",
                        table_id=table.key,
                        table=table.name,
                        old_days=present.trash_days,
                        new_days=table.trash_days,
                    )
                )
            found += _fields(present, table, at, refused)
            found += _views(present, table, at)
    if refused:
        raise Invalid("some changes cannot be made in place", tuple(refused), code="unsupported_change")
    if len(found) > MAX_STEPS:
        words = f"{len(found)} steps, where an application has at most {MAX_STEPS}: send the changes in parts"
        raise Invalid(words, (Fault("/tables", "too_many_changes", words),), code="too_many_changes")
    steps = tuple(sorted(found, key=lambda op: op.phase))
    if follow(current, steps) != wanted:
        # Cheap beside what a wrong plan would do to a tenant's tables.
        raise RuntimeError("the plan does not lead to the desired spec")
    return Plan(spec=wanted, steps=steps)


def _tables(current: BaseSpec, wanted: BaseSpec) -> Iterator[Op]:
    kept = {table.key for table in wanted.tables}
    there = {table.key for table in current.tables}
    place = {table.key: pointer("tables", index) for index, table in enumerate(wanted.tables)}
    shown = {table.key: table.display_name for table in current.tables}
    for key, old, new in renames(current.tables, wanted.tables):
        yield RenameTable(
            pointer=place.get(Ulid(key), "/tables"),
            table_id=key,
            old_name=old,
            new_name=new,
            old_display_name=shown[Ulid(key)],
            new_display_name=shown[Ulid(key)],
        )
    for table in wanted.tables:
        at = place[table.key]
        if table.key not in there:
            yield CreateTable(pointer=at, table=table)
        elif shown[table.key] != table.display_name:
            yield RenameTable(
                pointer=at,
                table_id=table.key,
                old_name=table.name,
                new_name=table.name,
                old_display_name=shown[table.key],
                new_display_name=table.display_name,
            )
    yield from _arrange("tables", current.tables, wanted.tables, "/tables", None)
    for table in current.tables:
        if table.key not in kept:
            links = tuple(field.key for field in table.fields if field.kind.paired)
            yield DropTable(pointer="/tables", table_id=table.key, table=table.name, links=links)


def _fields(present: TableSpec, table: TableSpec, at: str, refused: list[Fault]) -> Iterator[Op]:
    old_fields = {field.key: field for field in present.fields}
    kept = {field.key for field in table.fields}
    place = {field.key: at + pointer("fields", index) for index, field in enumerate(table.fields)}
    for key, old, new in renames(present.fields, table.fields):
        yield RenameField(
            pointer=place.get(Ulid(key), at + "/fields"),
            table_id=table.key,
            table=table.name,
            field_id=key,
            field=old,
            new_name=new,
        )
    for field in table.fields:
        before = old_fields.get(field.key)
        has_index = before is not None and before.kind.indexed
        if before is None:
            before = field.model_copy(update={"unique": False})
            yield AddField(pointer=place[field.key], table_id=table.key, table=table.name, field=before)
        if field.kind.indexed and not has_index:
            yield IndexField(
                pointer=place[field.key],
                table_id=table.key,
                table=table.name,
                field_id=field.key,
                field=field.name,
            )
        yield from _field(before, field, table, place[field.key], refused)
    yield from _arrange("fields", present.fields, table.fields, at + "/fields", table)
    for field in present.fields:
        if field.key not in kept:
            yield DropField(
                pointer=at + "/fields",
                table_id=table.key,
                table=table.name,
                field_id=field.key,
                field=field.name,
                has_column=field.kind.source is None,
                is_link=field.kind.paired,
            )


def _field(
    before: FieldSpec, field: FieldSpec, table: TableSpec, at: str, refused: list[Fault]
) -> Iterator[Op]:
    names = {"table_id": table.key, "table": table.name, "field_id": field.key, "field": field.name}
    options = {"old_options": before.options, "new_options": field.options}
    # First, since the new type may be one that cannot be unique.
    if before.unique and not field.unique:
        yield ClearUnique(pointer=at + "/unique", **names)
    if before.required and not field.required:
        yield ClearRequired(pointer=at + "/required", **names)
    if before.type != field.type:
        if not before.kind.widens(before.settings, field.kind, field.settings):
            refused.append(Fault(at + "/type", "unsupported_change", _why_no_type(before, field)))
        yield ChangeType(pointer=at + "/type", old_type=before.type, new_type=field.type, **options, **names)
    elif before.options != field.options:
        change = before.kind.change(before.settings, field.settings)
        if change is Change.REFUSED:
            words = f"values that are there may not fit these options: {_INSTEAD}"
            refused.append(Fault(at + "/options", "unsupported_change", words))
        kind = NarrowOptions if change is Change.NARROWER else ChangeOptions
        yield kind(pointer=at + "/options", type=field.type, **options, **names)
    if field.required and not before.required:
        yield RequireField(pointer=at + "/required", **names)
        yield ValidateRequired(pointer=at + "/required", **names)
    if field.unique and not before.unique:
        # The index is there before the type: what may be refused comes first.
        why_not = before.kind.why_not_unique(before.settings)
        if why_not is not None:
            words = f"{why_not}: turn it into a {field.type} first, then make it unique"
            refused.append(Fault(at + "/unique", "unsupported_change", words))
        yield SetUnique(pointer=at + "/unique", **names)


def _views(present: TableSpec, table: TableSpec, at: str) -> Iterator[Op]:
    views = {view.key: view for view in present.views}
    kept = {view.key for view in table.views}
    place = {view.key: at + pointer("views", index) for index, view in enumerate(table.views)}
    names = {"table_id": table.key, "table": table.name}
    for key, _, new in renames(present.views, table.views):
        old = views[Ulid(key)]
        views[Ulid(key)] = old.model_copy(update={"name": new})
        at_view = place.get(Ulid(key), at + "/views")
        yield UpdateView(pointer=at_view, old=old, new=views[Ulid(key)], **names)
    for view in table.views:
        if view.key not in views:
            yield CreateView(pointer=place[view.key], view=view, **names)
        elif views[view.key] != view:
            yield UpdateView(pointer=place[view.key], old=views[view.key], new=view, **names)
    yield from _arrange("views", present.views, table.views, at + "/views", table)
    for view in present.views:
        if view.key not in kept:
            yield DropView(pointer=at + "/views", view_id=view.key, view=view.name, **names)


def _arrange(
    what: Literal["tables", "fields", "views"],
    present: Sequence[Entry],
    desired: Sequence[Entry],
    at: str,
    table: TableSpec | None,
) -> Iterator[Op]:
    there = {entry.key for entry in present}
    wanted = [entry.key for entry in desired]
    leaving = [entry.key for entry in present if entry.key not in set(wanted)]
    added = [key for key in wanted if key not in there]
    before = [*(entry.key for entry in present), *added]
    if [key for key in before if key not in set(leaving)] != wanted:
        yield Arrange(
            pointer=at,
            what=what,
            table_id=table.key if table else None,
            table=table.name if table else None,
            before=tuple(before),
            after=(*wanted, *leaving),
        )


def _why_no_type(before: FieldSpec, field: FieldSpec) -> str:
    possible = [name for name in TYPES if name != before.type and _widens_to(before, name)]
    also = f"; with default options it can become {' or '.join(possible)}" if possible else ""
    return f"{before.type} cannot become this {field.type} in place{also}; else {_INSTEAD}"


def _widens_to(field: FieldSpec, type_name: str) -> bool:
    kind = TYPES[type_name]
    try:
        return field.kind.widens(field.settings, kind, kind.options())
    except ValidationError:  # a type whose options must be given
        return False
