"""The registry of field types: a new type is one small file and one line here."""

from typing import Any

from core.schema.types.autonumber import Autonumber
from core.schema.types.base import Change, FieldType, Operator, Options, check_operand, checker
from core.schema.types.boolean import Boolean
from core.schema.types.casting import Mode
from core.schema.types.created_at import CreatedAt
from core.schema.types.created_by import CreatedBy
from core.schema.types.currency import Currency
from core.schema.types.date import Date
from core.schema.types.datetime import Datetime
from core.schema.types.duration import Duration
from core.schema.types.email import Email
from core.schema.types.integer import Integer
from core.schema.types.json import Json
from core.schema.types.link import Link
from core.schema.types.long_text import LongText
from core.schema.types.multi_select import MultiSelect
from core.schema.types.number import Number
from core.schema.types.percent import Percent
from core.schema.types.phone import Phone
from core.schema.types.rating import Rating
from core.schema.types.rich_text import RichText
from core.schema.types.single_select import SingleSelect
from core.schema.types.text import Text
from core.schema.types.updated_at import UpdatedAt
from core.schema.types.updated_by import UpdatedBy
from core.schema.types.url import Url
from core.schema.types.user import User
from core.schema.types.uuid import Uuid

__all__ = ["TYPES", "Change", "FieldType", "Mode", "Operator", "Options", "check_operand", "checker"]

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
    RichText(),
    Currency(),
    Percent(),
    Duration(),
    Phone(),
    Rating(),
    Uuid(),
    User(),
    CreatedAt(),
    CreatedBy(),
    UpdatedAt(),
    UpdatedBy(),
    Autonumber(),
    Link(),
)

TYPES: dict[str, FieldType[Any]] = {field_type.name: field_type for field_type in _ALL}
"""Every field type by its name."""
