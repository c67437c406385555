"""What single_select and multi_select share: the names that may be chosen."""

from functools import cached_property
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from core.schema.closed import Closed
from core.schema.naming import MAX_CHARS, Name, fold
from core.schema.types import casting
from core.schema.types.base import Change, Options
from core.schema.types.casting import Casts, Mode


class Choice(Closed):
    """One choice.

    Records hold its name: what the API says, PostgreSQL compares and a person reads in psql is one text, and
    a choice needs no id. The price is that another name is a change of data, not of metadata.
    """

    name: Name


def _distinct(choices: tuple[Choice, ...]) -> tuple[Choice, ...]:
    seen: set[str] = set()
    for choice in choices:
        if fold(choice.name) in seen:
            raise ValueError(f"two choices are called {choice.name!r}")
        seen.add(fold(choice.name))
    return choices


class ChoiceOptions(Options):
    """The choices, in the order in which they are shown."""

    choices: Annotated[tuple[Choice, ...], Field(min_length=1, max_length=500), AfterValidator(_distinct)]

    @property
    def names(self) -> tuple[str, ...]:
        """The names that may be chosen."""
        return tuple(choice.name for choice in self.choices)

    @cached_property
    def by_fold(self) -> dict[str, str]:
        """The names by what they share with other spellings of them."""
        return {fold(name): name for name in self.names}

    def without(self, kept: "ChoiceOptions") -> tuple[str, ...]:
        """The names that are here and not in `kept`."""
        return tuple(name for name in self.names if name not in set(kept.names))


def named(value: Any, options: ChoiceOptions, mode: Mode) -> Casts:
    """Yield the choice that a text or number names, leniently whatever its case and the space around it."""
    if mode is not Mode.LENIENT:
        return
    text = (
        value.strip()
        if isinstance(value, str)
        else next((text for text, _ in casting.texts(value, mode)), "")
    )
    if len(text) <= MAX_CHARS and (name := options.by_fold.get(fold(text))) is not None:
        yield name, "choice_name"


def change(old: ChoiceOptions, new: ChoiceOptions) -> Change:
    """More choices lose nothing; one less is allowed once no record holds it."""
    if old == new:
        return Change.SAME
    return Change.NARROWER if old.without(new) else Change.WIDER
