"""What a table's fields are once the links of its base are in place."""

from core.ids import Ulid
from core.record import Field, linked
from core.schema.types import TYPES
from core.schema.types.link import LinkOptions
from core.schema.types.text import TextOptions

TENANT = Ulid("01jd0000000000000000000000")


def link(field_id: str, table: str, inverse: str | None = None) -> Field:
    return Field(field_id, field_id, TYPES["link"], LinkOptions(table=table, inverse=inverse))


def text(name: str) -> Field:
    return Field(name, name, TYPES["text"], TextOptions())


def shown(fields: dict[str, list[Field]]) -> dict[str, list[str]]:
    return {table: [f.name for f in found] for table, found in linked(TENANT, fields).items()}


def test_an_inverse_stands_behind_the_fields_of_the_other_table_and_points_back() -> None:
    made = linked(TENANT, {"a": [link("to", "b", "from")], "b": [text("x")]})
    to, (x, back) = made["a"][0], made["b"]
    assert (x.name, back.name, back.type.writable, back.type.in_record) == ("x", "from", False, False)
    assert to.link is not None
    assert back.link is not None
    assert (to.link.table_id, back.link.table_id) == ("b", "a")
    assert to.link.field_id == back.link.field_id == "to"


def test_a_table_may_be_linked_with_itself() -> None:
    assert shown({"a": [link("to", "a", "from")]}) == {"a": ["to", "from"]}


def test_while_a_schema_is_applied_what_cannot_be_is_left_out() -> None:
    assert shown({"a": [link("to", "not made yet"), text("x")]}) == {"a": ["x"]}
    assert shown({"a": [link("to", "b", "X")], "b": [text("x")]}) == {"a": ["to"], "b": ["x"]}
    both = [link("one", "b", "same"), link("two", "b", "Same")]
    assert shown({"a": both, "b": []}) == {"a": ["one", "two"], "b": ["same"]}
