"""What single_select and multi_select share: the names that may be chosen."""

from typing import Annotated

from pydantic import AfterValidator, Field

from core.schema.closed import Closed
from core.schema.naming import Name, fold
from core.schema.types.base import Change, Options


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

    def without(self, kept: "ChoiceOptions") -> tuple[str, ...]:
        """The names that are here and not in `kept`."""
        return tuple(name for name in self.names if name not in set(kept.names))


def change(old: ChoiceOptions, new: ChoiceOptions) -> Change:
    """More choices lose nothing; one less is allowed once no record holds it."""
    if old == new:
        return Change.SAME
    return Change.NARROWER if old.without(new) else Change.WIDER
