"""Models of what comes from outside: unknown members are refused by name, errors become JSON pointers."""

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from core.errors import Fault

_MAX_FAULTS = 50


class Closed(BaseModel):
    """A model that has the named members and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_members(cls, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = [member for member in data if member not in cls.model_fields]
            if unknown:
                raise failing(
                    *(
                        ((member,), "unknown_member", nearest("member", str(member), cls.model_fields))
                        for member in unknown
                    )
                )
        return data


def nearest(what: str, given: str, valid: Any) -> str:
    """Say that `given` is none of `valid`, and which of them may have been meant."""
    close = get_close_matches(given, [str(name) for name in valid], n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(valid)) or 'none'}"
    return f"there is no {what} {given[:100]!r}; {hint}"


def failing(*faults: tuple[tuple[str | int, ...], str, str]) -> ValidationError:
    """Return an error to raise in a validator: each fault with its place below it, its code and its words."""
    return ValidationError.from_exception_data(
        "spec",
        [
            InitErrorDetails(
                type=PydanticCustomError(code, "{words}", {"words": words}), loc=place, input=None
            )
            for place, code, words in faults
        ],
    )


def pointer(*place: str | int) -> str:
    """Return the JSON pointer of a place."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in place)


def faults(error: ValidationError, prefix: str = "") -> tuple[Fault, ...]:
    """Return pydantic's errors as faults with JSON pointers."""
    return tuple(
        Fault(prefix + pointer(*item["loc"]), item["type"], item["msg"].removeprefix("Value error, "))
        for item in error.errors(include_url=False, include_input=False, include_context=False)[:_MAX_FAULTS]
    )
