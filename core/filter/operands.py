"""What stands right of an operator: checked against the field, as one text for equal values."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from json import dumps
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError

from core.filter.dates import EXAMPLES, relative
from core.filter.tree import MAX_VALUES, Compare, Quantifier, Value
from core.record import Field, Table
from core.schema.closed import nearest
from core.schema.types import Operator, check_operand
from core.schema.types.base import MATCHING

NULLS = {"null": "true", "not_null": "false"}
"""How a null test is spelled, and the value it has in the tree."""
QUANTIFIERS = {quantifier.value: quantifier for quantifier in Quantifier}
"""How a condition through a link is spelled."""
MAX_MATCH_CHARS = 1_000
_IS = "is"
_MANY = (
    Operator.IN,
    Operator.NOT_IN,
    Operator.BETWEEN,
    Operator.HAS_ANY,
    Operator.HAS_ALL,
    Operator.HAS_NONE,
)
_EQUAL = (Operator.EQ, Operator.NE, Operator.IN, Operator.NOT_IN)
_PLAIN: TypeAdapter[str] = TypeAdapter(
    Annotated[str, StringConstraints(max_length=MAX_MATCH_CHARS, pattern=r"^[^\x00]*$")]
)
_MAX_EXPONENT = 1_000
_SHORT_EXPONENT = 40


class Unfit(ValueError):
    """What a filter cannot mean: a stable code, words, and of which part of a condition."""

    def __init__(self, part: str, code: str, words: str, place: int | None = None) -> None:
        super().__init__(words)
        self.part = part
        self.code = code
        self.words = words
        self.place = place


def field_of(table: Table, name: str) -> Field:
    """Return the field called `name`; Unfit with the nearest name."""
    found = table.readable.get(name)
    if found is None:
        raise Unfit("field", "unknown_field", nearest("field", name, table.readable))
    return found


def operator_of(field: Field, word: str, *, links: bool) -> Operator:
    """Return the operator that `word` is, as far as the field's type has it; Unfit with the nearest."""
    known = _words(field.type.operators)
    if word == Operator.IS_NULL:
        raise Unfit("op", "unknown_operator", "an operator 'is_null' is written is.null or is.not_null")
    if word not in known:
        valid = [*known, *(QUANTIFIERS if links else ())]
        raise Unfit("op", "unknown_operator", f"{field.type.name}: {nearest('operator', word, valid)}")
    return known[word]


def takes_list(field: Field, operator: Operator) -> bool:
    """Tell whether the operator compares with a list of values."""
    return operator in _MANY or (is_set(field) and operator in _EQUAL)


def is_set(field: Field) -> bool:
    """Tell whether the field holds several values."""
    return field.type.cast == "text[]"


def compare(field: Field, operator: Operator, texts: Sequence[str], zone: str) -> Compare:
    """Return the comparison with the values that `texts` spell; Unfit where it has no meaning."""
    if operator is Operator.IS_NULL:
        (test,) = texts
        if test not in NULLS:
            raise Unfit("value", "unknown_operator", nearest("test", test, NULLS))
        return Compare(field, operator, (NULLS[test],))
    if len(texts) > MAX_VALUES:
        raise Unfit("value", "too_many", f"at most {MAX_VALUES} values")
    if operator is Operator.BETWEEN and len(texts) != 2:
        raise Unfit("value", "two_values", "between takes the lowest and the highest value")
    # A set may be empty, and so may what it equals.
    if not texts and not (is_set(field) and operator in _EQUAL):
        words = f"{field.name!r} cannot be compared with nothing: {operator.value} takes a value"
        raise Unfit("value", "no_value", words)
    return Compare(field, operator, tuple(_value(field, operator, t, n, zone) for n, t in enumerate(texts)))


def is_link(field: Field) -> bool:
    """Tell whether the field links to records of a table."""
    return field.link is not None


def linked_table(field: Field, tables: Mapping[str, Table]) -> Table | None:
    """Return the table whose records `field` links to; None where it is no link."""
    return None if field.link is None else tables.get(field.link.table_id)


@lru_cache(64)
def _words(operators: tuple[Operator, ...]) -> dict[str, Operator]:
    return {_IS if o is Operator.IS_NULL else o.value: o for o in operators}


def _value(field: Field, operator: Operator, text: str, place: int, zone: str) -> Value:
    try:
        if operator in MATCHING:
            return _PLAIN.validate_json(dumps(text))
        if field.type.cast in ("date", "timestamptz"):
            found = relative(text, zone)
            if found is None and operator is Operator.WITHIN:
                raise ValueError(f"within takes a day or a span of days, as {EXAMPLES}")
            if found is not None and operator in _EQUAL and not found.is_day:
                raise ValueError("it is longer than a day: use within")
            if found is not None:
                return found
        given = dumps([text]) if is_set(field) else text
        check_operand(field.type, field.options, given)
        return _one_text(field.type.cast, text)
    except ValidationError as error:
        why = error.errors(include_url=False, include_input=False)[0]["msg"].removeprefix("Value error, ")
    except ValueError as error:
        why = str(error)
    words = f"{field.name!r} cannot be compared with {text[:100]!r}: {why}"
    raise Unfit("value", "invalid_value", words, place)


def _one_text(cast: str, text: str) -> str:
    """Return one text for all that spell an equal value."""
    match cast:
        case "bigint" | "integer" | "smallint":
            return str(int(text))
        case "numeric":
            return _one_number(text)
        case "boolean":
            return text.strip()
        case "timestamptz":
            return datetime.fromisoformat(text).astimezone(UTC).isoformat().replace("+00:00", "Z")
        case _:
            return text


def _one_number(text: str) -> str:
    """Return a number without needless zeros, exact: the type's own check sees a float, and lets pass 1e-400."""
    try:
        sign, given, exponent = Decimal(text).as_tuple()
    except ArithmeticError:
        raise ValueError("out of range") from None
    if not isinstance(exponent, int) or len(given) > _MAX_EXPONENT:
        raise ValueError("out of range")
    digits = "".join(map(str, given)).rstrip("0")
    exponent += len(given) - len(digits)
    if not digits.lstrip("0"):
        return "0"
    if abs(exponent) > _MAX_EXPONENT:
        raise ValueError("out of range")
    if abs(exponent) <= _SHORT_EXPONENT:
        return format(Decimal((sign, tuple(map(int, digits)), exponent)), "f")
    return f"{'-' * sign}{digits}e{exponent}"
