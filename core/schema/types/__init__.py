"""The registry of field types: a new type is one small file and one line here."""

from typing import Any

from core.schema.types.base import Change, FieldType, Operator, Options, check_operand
from core.schema.types.boolean import Boolean
from core.schema.types.date import Date
from core.schema.types.datetime import Datetime
from core.schema.types.email import Email
from core.schema.types.integer import Integer
from core.schema.types.json import Json
from core.schema.types.long_text import LongText
from core.schema.types.multi_select import MultiSelect
from core.schema.types.number import Number
from core.schema.types.single_select import SingleSelect
from core.schema.types.text import Text
from core.schema.types.url import Url

__all__ = ["TYPES", "Change", "FieldType", "Operator", "Options", "check_operand"]

_ALL: tuple[FieldType[Any], ...] = (
    Text(),
    LongText(),
    Integer(),
    Number(),
    Boolean(),
    Date(),
    Datetime(),
    SingleSelect(),
    MultiSelect(),
    Email(),
    Url(),
    Json(),
)

TYPES: dict[str, FieldType[Any]] = {field_type.name: field_type for field_type in _ALL}
"""Every field type by its name."""
