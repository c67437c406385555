"""Random bases, and what a person may want of them next."""

from typing import Any

from hypothesis import assume
from hypothesis import strategies as st

from core.errors import Invalid
from core.ids import Ulid, batch
from core.schema.diff import diff
from core.schema.naming import fold
from core.schema.plan import Plan
from core.schema.spec import BaseSpec, FieldSpec, TableSpec, ViewSpec, read_spec
from core.schema.types import TYPES

FIRST = Ulid("01jd0000000000000000000000")
EMPTY = BaseSpec()
NAMES = ["a", "b", "c", "d", "E", "Größe", "with space", "x" * 100, "ß", "日本"]
CHOICES = ["red", "green", "blue", "dark red"]
KINDS = ["grid", "form", "kanban", "gantt", "gallery"]


def ids() -> Any:
    """An endless supply of ids, the same in every run."""
    return iter(batch(FIRST, 1_000))


def later_ids() -> Any:
    """Ids that `ids()` never gives."""
    return iter(batch(Ulid("01jd0000000000000001000000"), 1_000))


def options(type_name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Options that the type takes."""
    if type_name in ("single_select", "multi_select"):
        names = st.lists(st.sampled_from(CHOICES), min_size=1, unique=True)
        return names.map(lambda chosen: {"choices": [{"name": name} for name in chosen]})
    if type_name == "text":
        return st.sampled_from([{}, {"max_length": 100}, {"max_length": 600}])
    if type_name == "number":
        return st.sampled_from([{}, {"precision": 10, "scale": 2}, {"precision": 30, "scale": 8}])
    if type_name == "currency":
        return st.sampled_from([{"code": "EUR"}, {"code": "JPY"}])
    if type_name == "rating":
        return st.sampled_from([{}, {"max": 10}])
    return st.just({})


@st.composite
def fields(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A field called `name`."""
    type_name = draw(st.sampled_from(sorted(set(TYPES) - {"link"})))
    chosen = draw(options(type_name))
    kind = TYPES[type_name]
    can_be_unique = kind.why_not_unique(kind.options.model_validate(chosen)) is None
    return {
        "name": name,
        "type": type_name,
        "options": chosen,
        "required": kind.writable and draw(st.booleans()),
        "unique": can_be_unique and draw(st.booleans()),
    }


@st.composite
def views(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A view called `name`."""
    definition = draw(st.sampled_from([{}, {"filter": ["a", 1]}, {"sort": "b"}]))
    return {"name": name, "kind": draw(st.sampled_from(KINDS)), "definition": definition}


def names(max_size: int) -> st.SearchStrategy[list[str]]:
    """Different names."""
    return st.lists(st.sampled_from(NAMES), max_size=max_size, unique_by=fold)


@st.composite
def tables(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A table called `name`."""
    return {
        "name": name,
        "display_name": draw(st.sampled_from([None, "Shown"])),
        "trash_days": draw(st.sampled_from([1, 30, 90])),
        "fields": [draw(fields(field)) for field in draw(names(4))],
        "views": [draw(views(view)) for view in draw(names(2))],
    }


@st.composite
def bases(draw: st.DrawFn) -> BaseSpec:
    """A desired spec without ids."""
    made = [draw(tables(table)) for table in draw(names(3))]
    for n, table in enumerate(made):
        if draw(st.booleans()):
            table["fields"].append(draw(_links(n, [table["name"] for table in made])))
    return read_spec({"tables": made})


@st.composite
def _links(draw: st.DrawFn, n: int, table_names: list[str]) -> dict[str, Any]:
    """A link to one of the tables."""
    chosen = {
        "table": draw(st.sampled_from(table_names)),
        "many": draw(st.booleans()),
        "inverse": draw(st.sampled_from([None, f"back {n}"])),
    }
    return {"name": "link", "type": "link", "options": chosen, "required": draw(st.booleans())}


def _next_link(field: FieldSpec) -> st.SearchStrategy[dict[str, Any]]:
    """Options that a link may have next."""
    inverses = [None, f"back {field.key}", field.options["inverse"]]
    many = st.sampled_from([True, field.options["many"]])
    return st.builds(
        lambda inverse, many: field.options | {"inverse": inverse, "many": many},
        st.sampled_from(inverses),
        many,
    )


@st.composite
def _next_field(draw: st.DrawFn, field: FieldSpec) -> dict[str, Any]:
    wanted = field.model_dump(mode="json")
    possible = {field.type: draw(_next_link(field) if field.type == "link" else options(field.type))}
    for name, kind in TYPES.items():
        if name not in ("single_select", "multi_select", "currency", "link") and field.kind.widens(
            field.settings, kind, kind.options()
        ):
            possible[name] = {}
    wanted["type"] = draw(st.sampled_from(sorted(possible)))
    if wanted["type"] != field.type or draw(st.booleans()):
        wanted["options"] = possible[wanted["type"]]
    kind = TYPES[wanted["type"]]
    can_be_unique = kind.why_not_unique(kind.options.model_validate(wanted["options"])) is None
    return wanted | {
        "required": kind.writable and draw(st.booleans()),
        "unique": can_be_unique and draw(st.booleans()),
    }


@st.composite
def _next_table(draw: st.DrawFn, table: TableSpec) -> dict[str, Any]:
    wanted = table.model_dump(mode="json")
    wanted["display_name"] = draw(st.sampled_from([None, "Shown", "Otherwise"]))
    wanted["trash_days"] = draw(st.sampled_from([1, 30, 90]))
    wanted["fields"] = draw(_entries([draw(_next_field(field)) for field in table.fields], fields))
    wanted["views"] = draw(_entries([draw(_next_view(view)) for view in table.views], views))
    return wanted


@st.composite
def _next_view(draw: st.DrawFn, view: ViewSpec) -> dict[str, Any]:
    return view.model_dump(mode="json") | draw(views(view.name))


@st.composite
def _entries(draw: st.DrawFn, present: list[dict[str, Any]], new: Any) -> list[dict[str, Any]]:
    """Some of the present ones, renamed or not, by id or by name, some new ones, in any order."""
    kept = [entry for entry in present if draw(st.integers(0, 3))]
    free = draw(st.permutations(NAMES))
    wanted: list[dict[str, Any]] = []
    taken: set[str] = set()
    for entry in kept:
        renamed = draw(st.booleans())
        name = next(n for n in ([] if renamed else [entry["name"]]) + free if fold(n) not in taken)
        taken.add(fold(name))
        by_id = name != entry["name"] or draw(st.booleans())
        wanted.append(entry | {"name": name, "id": entry["id"] if by_id else None})
    for name in free[: draw(st.integers(0, 2))]:
        if fold(name) not in taken:
            wanted.append(draw(new(name)))
            taken.add(fold(name))
    return draw(st.permutations(wanted))


@st.composite
def next_bases(draw: st.DrawFn, current: BaseSpec) -> BaseSpec:
    """What is wanted next of a base that is there."""
    present = [draw(_next_table(table)) for table in current.tables]
    wanted = draw(_entries(present, tables))
    ids_by_name = {fold(table.name): table.id for table in current.tables}
    named = {table["id"] for table in wanted if table.get("id")}
    there = named | {ids_by_name.get(fold(table["name"])) for table in wanted if not table.get("id")}
    for table in wanted:
        table["fields"] = [
            field
            for field in table["fields"]
            if field["type"] != "link" or field["options"]["table"] in there
        ]
    return read_spec({"tables": wanted})


def made(desired: BaseSpec) -> BaseSpec:
    """Return a desired spec as it is once it is there."""
    return diff(EMPTY, desired, ids()).spec


@st.composite
def changes(draw: st.DrawFn) -> tuple[BaseSpec, Plan]:
    """A base, and a plan that can be carried out on it."""
    current = made(draw(bases()))
    desired = draw(next_bases(current))
    try:
        return current, diff(current, desired, later_ids())
    except Invalid:
        assume(False)
        raise
