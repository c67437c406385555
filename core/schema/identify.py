"""Which entry of a desired spec is which present one."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from core.errors import Fault, Invalid
from core.ids import Ulid
from core.schema.closed import pointer
from core.schema.links import resolve
from core.schema.naming import fold
from core.schema.spec import BaseSpec, Entry, TableSpec

E = TypeVar("E", bound=Entry)


def identify(current: BaseSpec, desired: BaseSpec, ids: Iterator[Ulid]) -> BaseSpec:
    """Return the desired spec with an id in every entry; Invalid when it names an id that is not there.

    An entry without an id is the present one of the same name, unless another entry names that one by its id;
    else it is new. So a spec can be sent again as it is, and a rename needs the id.
    """
    found: list[Fault] = []
    tables = _identify(current.tables, desired.tables, "table", ("tables",), ids, found)
    complete = []
    for place, table in enumerate(tables):
        present = next((t for t in current.tables if t.id == table.id), TableSpec(name=table.name))
        at = ("tables", place)
        fields = _identify(present.fields, table.fields, "field", (*at, "fields"), ids, found)
        views = _identify(present.views, table.views, "view", (*at, "views"), ids, found)
        complete.append(table.model_copy(update={"fields": fields, "views": views}))
    if found:
        raise Invalid("the spec names what is not in this base", tuple(found), code="invalid_spec")
    spec, found_in_links = resolve(desired.model_copy(update={"tables": tuple(complete)}))
    if found_in_links:
        raise Invalid("some links cannot be as they are described", found_in_links, code="invalid_spec")
    return spec


def _identify(
    present: Sequence[E],
    desired: Sequence[E],
    what: str,
    at: tuple[str | int, ...],
    ids: Iterator[Ulid],
    found: list[Fault],
) -> tuple[E, ...]:
    known = {entry.id for entry in present}
    claimed = {entry.id for entry in desired if entry.id}
    free = {fold(entry.name): entry for entry in present if entry.id not in claimed}
    identified = []
    for place, entry in enumerate(desired):
        if entry.id is None:
            same = free.get(fold(entry.name))
            entry = entry.model_copy(update={"id": same.id if same else next(ids)})
        elif entry.id not in known:
            words = f"there is no {what} with this id here; a new {what} comes without an id"
            found.append(Fault(pointer(*at, place, "id"), "unknown_id", words))
        identified.append(entry)
    return tuple(identified)
