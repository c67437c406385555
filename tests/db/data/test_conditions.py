"""Conditions through links: some, every and none of the linked records, along two links, behind both walls."""

import random
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.filter.operands import takes_list
from core.filter.tree import MAX_DEPTH
from core.record import Field
from core.schema.types import TYPES, Operator
from core.schema.types.base import MATCHING
from db.data import names
from db.data.ddl.base import Sql
from tests.api.data.conftest import Client, app, client, world
from tests.api.data.world import Base, World

__all__ = ["app", "client", "world"]
CITIES = ["Berlin", "Köln", "Ulm"]
STATES = ["new", "paid"]


@pytest.fixture(scope="module")
async def shop(
    world: World, client: Client
) -> tuple[Base, httpx.AsyncClient, dict[str, list[dict[str, Any]]]]:
    """Customers who know customers, and orders of several of them."""
    base = await world.tenant()
    customers = await base.add_table(
        "Customers", [{"name": "City", "type": "text"}, {"name": "Age", "type": "integer"}]
    )
    orders = [
        {"name": "State", "type": "text"},
        {"name": "Customers", "type": "link", "options": {"table": customers.id, "inverse": "Orders"}},
    ]
    await base.add_table("Orders", orders)
    editor = client(await base.token())
    rng = random.Random(3)
    people = [
        {"fields": {"City": rng.choice([*CITIES, None]), "Age": rng.choice([None, 1, 2, 3])}}
        for _ in range(12)
    ]
    made = (await editor.post(base.path("Customers"), json={"records": people})).json()["records"]
    ids = [record["id"] for record in made]
    rows = [
        {
            "fields": {
                "State": rng.choice([*STATES, None]),
                "Customers": rng.sample(ids, rng.choice([0, 0, 1, 2, 3])),
            }
        }
        for _ in range(25)
    ]
    answer = await editor.post(base.path("Orders"), json={"records": rows})
    assert answer.status_code == 201, answer.text
    gone = ids[0]
    assert (await editor.delete(f"{base.path('Customers')}/{gone}")).status_code == 200
    found = {
        name: (await editor.get(base.path(name), params={"limit": 1000})).json()["records"]
        for name in ("Customers", "Orders")
    }
    assert all(gone not in order["fields"]["Customers"] for order in found["Orders"])
    return base, editor, found


def conditions(table: str, links: int) -> st.SearchStrategy[Any]:
    """Conditions on a table, along up to so many links."""
    if table == "Customers":
        leaves = st.one_of(
            st.tuples(st.just("City"), st.sampled_from(["eq", "ne"]), st.sampled_from(CITIES)),
            st.tuples(st.just("Age"), st.sampled_from(["lt", "gte", "eq"]), st.integers(1, 3)),
        )
        link, other = "Orders", "Orders"
    else:
        leaves = st.tuples(st.just("State"), st.sampled_from(["eq", "ne"]), st.sampled_from(STATES))
        link, other = "Customers", "Customers"
    leaves |= st.tuples(st.just(link), st.just("is"), st.sampled_from(["null", "not_null"]))
    if links:
        quantifiers = st.sampled_from(["some", "every", "none"])
        leaves |= st.tuples(st.just(link), quantifiers, st.deferred(lambda: conditions(other, links - 1)))
    return st.recursive(
        leaves,
        lambda part: (
            st.tuples(st.sampled_from(["and", "or"]), st.lists(part, min_size=1, max_size=3))
            | st.tuples(st.just("not"), part)
        ),
        max_leaves=4,
    )


def depth(tree: Any) -> int:
    match tree:
        case ("and" | "or", list(parts)):
            return 1 + max(map(depth, parts))
        case ("not", part) | (_, "some" | "every" | "none", part):
            return 1 + depth(part)
    return 1


def as_json(tree: Any) -> Any:
    match tree:
        case ("and" | "or" as group, list(parts)):
            return {group: [as_json(part) for part in parts]}
        case ("not", part):
            return {"not": as_json(part)}
        case (name, "some" | "every" | "none" as quantifier, part):
            return {"field": name, quantifier: as_json(part)}
        case (name, operator, value):
            return {"field": name, "op": operator, "value": value}
    raise AssertionError(tree)


def compact(tree: Any) -> str:
    match tree:
        case ("and" | "or" as group, list(parts)):
            return f"{group}({','.join(map(compact, parts))})"
        case ("not", part):
            return f"not({compact(part)})"
        case (name, "some" | "every" | "none" as quantifier, part):
            return f"{name}.{quantifier}.({compact(part)})"
        case (name, operator, value):
            return f"{name}.{operator}.{value}"
    raise AssertionError(tree)


def holds(tree: Any, record: dict[str, Any], found: dict[str, list[dict[str, Any]]]) -> bool:
    """The plain meaning."""
    match tree:
        case ("and", list(parts)):
            return all(holds(part, record, found) for part in parts)
        case ("or", list(parts)):
            return any(holds(part, record, found) for part in parts)
        case ("not", part):
            return not holds(part, record, found)
        case (name, "is", test):
            return (record["fields"][name] in (None, [])) == (test == "null")
        case (name, "some" | "every" | "none" as quantifier, part):
            there = [other for other in found[name] if other["id"] in record["fields"][name]]
            held = [holds(part, other, found) for other in there]
            return {"some": any(held), "every": all(held), "none": not any(held)}[quantifier]
    name, operator, value = tree
    mine = record["fields"][name]
    if mine is None:
        return bool(operator == "ne")
    return bool(
        {"eq": mine == value, "ne": mine != value}[operator]
        if operator in ("eq", "ne")
        else {"lt": mine < value, "gte": mine >= value}[operator]
    )


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    drawn=st.sampled_from(["Orders", "Customers"]).flatmap(
        lambda table: st.tuples(
            st.just(table), conditions(table, 2).filter(lambda tree: depth(tree) <= MAX_DEPTH)
        )
    )
)
async def test_a_condition_through_links_finds_what_its_plain_meaning_finds(shop: Any, drawn: Any) -> None:
    base, editor, found = shop
    table, tree = drawn
    answer = await editor.post(f"{base.path(table)}/query", json={"filter": as_json(tree), "limit": 1000})
    assert answer.status_code == 200, answer.text
    expected = [record["id"] for record in found[table] if holds(tree, record, found)]
    assert [record["id"] for record in answer.json()["records"]] == expected
    listed = await editor.get(base.path(table), params={"filter": compact(tree), "limit": 1000})
    assert listed.json() == answer.json()


@pytest.mark.parametrize(
    ("table", "text", "hint"),
    [
        ("Orders", "Customers.some.(Ctiy.eq.Ulm)", "'City'"),
        ("Orders", "Customers.some.(State.eq.new)", "no field"),
        ("Orders", "Customers.sume.(City.eq.Ulm)", "'some'"),
        ("Orders", "Customers.some.City.eq.Ulm", "'('"),
        ("Orders", "Customers.some.()", "name is missing"),
        ("Orders", "State.some.(City.eq.Ulm)", "operator"),
        ("Orders", "Customers.has_any.(x)", "cannot be compared"),
        ("Orders", "Customers.some.(Orders.some.(Customers.some.(City.eq.Ulm)))", "at most 2"),
        ("Customers", "not(" * 7 + "Orders.some.(Customers.some.(Age.eq.1))" + ")" * 7, ""),
        ("Customers", "not(" * 9 + "Orders.some.(State.eq.new)" + ")" * 9, "deep"),
    ],
)  # fmt: skip
async def test_a_link_that_cannot_be_asked_so_is_refused(shop: Any, table: str, text: str, hint: str) -> None:
    base, editor, _ = shop
    answer = await editor.get(base.path(table), params={"filter": text})
    assert answer.status_code == (400 if hint else 200), answer.text
    assert hint in answer.text


OPTIONS: dict[str, dict[str, Any]] = {
    "single_select": {"choices": [{"name": "a"}]},
    "multi_select": {"choices": [{"name": "a"}]},
    "currency": {"code": "EUR"},
}
SAMPLES: dict[str, Any] = {
    "text": "a",
    "bigint": 1,
    "smallint": 1,
    "numeric": 1,
    "boolean": True,
    "date": "2024-01-01",
    "timestamptz": "2024-01-01T00:00:00Z",
    "text[]": "a",
    "uuid": "01234567-89ab-cdef-0123-456789abcdef",
}
OF_TYPE = {"email": "a@b.co", "url": "https://a.com/", "phone": "+4930123456"}
AN_ID = "01jd0000000000000000000000"
OF_IDS = ("user", "created_by", "updated_by", "link")


@pytest.fixture(scope="module")
async def every(world: World, client: Client) -> tuple[Base, httpx.AsyncClient]:
    """A table with a field of every type that there is."""
    base = await world.tenant()
    other = await base.add_table("Others", [{"name": "Name", "type": "text"}])
    fields = [
        {
            "name": f"a {kind}",
            "type": kind,
            "options": {"table": other.id} if kind == "link" else OPTIONS.get(kind, {}),
        }
        for kind in TYPES
    ]
    await base.add_table("Tasks", fields)
    return base, client(await base.token())


def _bare(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("kind", sorted(TYPES))
async def test_every_operator_of_every_type_is_one_of_postgresql(every: Any, kind: str) -> None:
    base, editor = every
    for operator in TYPES[kind].operators:
        field = Field(kind, kind, TYPES[kind], TYPES[kind].options.model_construct())
        sample = AN_ID if kind in OF_IDS else OF_TYPE.get(kind, SAMPLES.get(TYPES[kind].cast))
        word, value = operator.value, sample
        if operator is Operator.IS_NULL:
            word, value = "is", "null"
        elif operator is Operator.WITHIN:
            value = "this_week"
        elif operator in MATCHING:
            value = "a"
        elif takes_list(field, operator):
            value = [sample, sample] if operator is Operator.BETWEEN else [sample]
        condition = {"field": f"a {kind}", "op": word, "value": value}
        answer = await editor.post(f"{base.path()}/query", json={"filter": condition})
        assert (answer.status_code, operator) == (200, operator), answer.text
        text = f"({','.join(map(_bare, value))})" if isinstance(value, list) else _bare(value)
        listed = await editor.get(base.path(), params={"filter": f"a {kind}.{word}.{text}"})
        assert (listed.status_code, listed.json()) == (200, answer.json()), listed.text


async def test_links_are_a_set(shop: Any) -> None:
    base, editor, found = shop
    orders = found["Orders"]
    some = next(order["fields"]["Customers"] for order in orders if len(order["fields"]["Customers"]) > 1)
    tests: dict[str, Callable[[set[str]], bool]] = {
        "eq": lambda mine: mine == set(some),
        "ne": lambda mine: mine != set(some),
        "has_any": lambda mine: bool(mine & set(some)),
        "has_all": lambda mine: mine >= set(some),
        "has_none": lambda mine: not mine & set(some),
    }
    for operator, test in tests.items():
        text = f"Customers.{operator}.({','.join(reversed(some))})"
        answer = await editor.get(base.path("Orders"), params={"filter": text})
        expected = [order["id"] for order in orders if test(set(order["fields"]["Customers"]))]
        assert [record["id"] for record in answer.json()["records"]] == expected
        inverse = {"filter": f"Orders.{operator}.({orders[0]['id']})"}
        one = await editor.get(base.path("Customers"), params=inverse)
        assert one.status_code == 200, one.text


async def test_a_change_of_the_other_table_is_seen(shop: Any) -> None:
    """A condition through a link hangs on two tables: what was understood of it outlives neither."""
    base, editor, _ = shop
    fields = names.metadata(base.tenant_id, "fields")
    age = next(field for field in base.tables["Customers"].fields if field.name == "Age")

    async def listed(name: str) -> httpx.Response:
        return await editor.get(base.path("Orders"), params={"filter": f"Customers.some.({name}.gte.2)"})

    async def renamed(name: str) -> None:
        await base.apply([Sql(f"update {fields} set name = $2 where id = $1", (age.id, name))])
        # A call that is not refused reads the schema again.
        assert (await editor.get(base.path("Orders"))).status_code == 200

    before = await listed("Age")
    assert before.status_code == 200
    await renamed("Years")
    try:
        assert (await listed("Years")).json() == before.json()
        assert "'Years'" in (await listed("Yeras")).text
        assert (await listed("Age")).status_code == 400
    finally:
        await renamed("Age")
    assert (await listed("Age")).json() == before.json()
