"""What a request may bring: members and parameters that are declared, each once, in a form that has a meaning."""

import contextlib
from typing import Annotated, Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StringConstraints

from core import keys
from core.errors import BadRequest, Fault
from core.ids import UlidStr
from core.schema.closed import nearest

MAX_CENTS = 1_000_000_000
_MAX_NAMES = 20


class Closed(BaseModel):
    """A request's body: what is not named in it is refused."""

    model_config = ConfigDict(extra="forbid")


class Out(BaseModel):
    """An answer's body, made from the row that it tells of."""

    model_config = ConfigDict(from_attributes=True)


class Page(Out):
    """A page's frame: `next_cursor` is null on the last one."""

    next_cursor: str | None = None


def _plain(text: str) -> str:
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("control characters are not possible here")
    return text


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("the character NUL is not possible here")
    return text


Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=200),
    AfterValidator(_plain),
]
Prose = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000),
    AfterValidator(_without_nul),
]
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=3,
        max_length=254,
        pattern=r"^[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f.]+(\.[^@\s\x00-\x1f\x7f.]+)*$",
    ),
]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
CentsOrNone = Annotated[StrictInt, Field(ge=0, le=MAX_CENTS)]
Id = UlidStr


async def only_known_parameters(request: Request) -> None:
    """Refuse query parameters that the route does not declare, or that come twice."""
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = parameters(route.dependant)
    faults = []
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if name not in known:
            words = nearest("parameter", name[:100], known)
            faults.append(Fault(name[:100], "unknown_parameter", words))
        elif name in seen:
            faults.append(Fault(name, "repeated_parameter", f"{name!r} may come once"))
        seen.add(name)
        if len(faults) >= _MAX_NAMES:
            break
    if faults:
        raise BadRequest(f"The request cannot be read: {faults[0].detail}", tuple(faults))


async def no_repeated_keys(request: Request) -> None:
    """Refuse a JSON body in which a key stands twice in one object, where the route reads a body."""
    route = request.scope.get("route")
    if isinstance(route, APIRoute) and route.body_field is not None:
        # What is no JSON is refused after this, as the route's model says.
        with contextlib.suppress(ValueError):
            keys.refuse_repeated(await request.body())


def parameters(dependant: Dependant) -> set[str]:
    """Return the names of the query parameters that a route declares, itself or by what it depends on."""
    own = {field.alias for field in dependant.query_params}
    return own.union(*(parameters(each) for each in dependant.dependencies))


def cut(rows: Any, limit: int) -> tuple[list[Any], bool]:
    """Return the first `limit` of the rows, one more of which was asked for, and whether there are more."""
    rows = list(rows)
    return rows[:limit], len(rows) > limit
