"""Conditions: a filter as SQL on a record `r`, its values as parameters."""

from core.filter import All, Any, Compare, Filter, Not
from core.record import Field
from core.schema.types import Operator
from db.data.statements import column

_SIGNS = {
    Operator.EQ: "=",
    # An empty field is not equal to anything, so it is found by `ne`.
    Operator.NE: "is distinct from",
    Operator.LT: "<",
    Operator.LTE: "<=",
    Operator.GT: ">",
    Operator.GTE: ">=",
}


def compiled(tree: Filter, values: list[str]) -> str:
    """Return the condition, and add its values to `values`, which a statement finds in `params.q`."""
    match tree:
        case Compare(field, Operator.IS_NULL, tests):
            return f"r.{column(field)} is {'' if tests == ('true',) else 'not '}null"
        case Compare(field, Operator.IN, given):
            return f"r.{column(field)} in ({', '.join(_value(field, v, values) for v in given)})"
        case Compare(field, operator, given):
            return f"r.{column(field)} {_SIGNS[operator]} {_value(field, given[0], values)}"
        case All(parts):
            return f"({' and '.join(compiled(part, values) for part in parts)})"
        case Any(parts):
            return f"({' or '.join(compiled(part, values) for part in parts)})"
        case Not(part):
            # Not `not`: what is unknown to SQL, a comparison with an empty field, is false to a filter.
            return f"({compiled(part, values)}) is not true"


def _value(field: Field, value: str, values: list[str]) -> str:
    values.append(value)
    return f"($1 -> 'q' ->> {len(values) - 1})::{field.type.cast}"
