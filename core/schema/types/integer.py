"""`integer`: whole numbers of 64 bits."""

from typing import Annotated, Any

from pydantic import Field

from core.schema.types import casting
from core.schema.types.base import FieldType, Options
from core.schema.types.casting import Casts, Mode
from core.schema.types.number import NumberOptions

_DIGITS = 19


class Integer(FieldType[Options]):
    """A whole number from -2^63 to 2^63-1."""

    name = "integer"
    cast = "bigint"
    quoted = False
    options = Options

    def storage(self, options: Options) -> str:
        """64 bits."""
        return "bigint"

    def annotation(self, options: Options) -> Any:
        """An integer within PostgreSQL's bigint."""
        return Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """A number in quotes, or one with nothing but zeros after the point; nothing is rounded."""
        return casting.integers(value, mode)

    def widens(self, options: Options, target: FieldType[Any], target_options: Any) -> bool:
        """Every integer is a number that has room for 19 digits before the point."""
        return isinstance(target_options, NumberOptions) and target_options.whole >= _DIGITS
