"""`user`: a person who works with Planebase."""

from typing import Any

from core.ids import UlidStr
from core.schema.types.base import EQUALITY, TEXT, FieldType, Options
from core.schema.types.casting import Casts, Mode

_CHARS = 26


class User(FieldType[Options]):
    """The id of a user.

    Only its form is checked: users and members live in another database, which the record path cannot see. The id
    may be nobody's, or that of somebody who has left.
    """

    name = "user"
    cast = "text"
    operators = EQUALITY
    options = Options

    def storage(self, options: Options) -> str:
        """An id."""
        return TEXT

    def annotation(self, options: Options) -> Any:
        """An id in its one spelling."""
        return UlidStr

    def casts(self, value: Any, options: Options, mode: Mode) -> Casts:
        """An id in upper case is the same id; leniently with space around."""
        if isinstance(value, str):
            yield (value.strip() if mode is Mode.LENIENT else value).lower(), "canonical"

    def longest(self, options: Options) -> int:
        """As long as an id."""
        return _CHARS
