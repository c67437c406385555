"""What can go wrong, by name; api/problems.py and workers/interceptors.py translate it."""

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Fault:
    """One fault in the input: where (JSON pointer or parameter name), which, and in words."""

    pointer: str
    code: str
    detail: str


class PlanebaseError(Exception):
    """The base of every refusal that a caller may see; `code` is stable, `detail` is for people."""

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(
        self, detail: str, faults: tuple[Fault, ...] = (), *, code: str | None = None, **extra: Any
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults
        self.reason = code or self.code
        self.extra = extra


class Invalid(PlanebaseError):
    """The request cannot mean anything here."""

    code = "invalid"
    status = 422


class BadRequest(PlanebaseError):
    """The request cannot be read."""

    code = "bad_request"
    status = 400


class TooLarge(PlanebaseError):
    """The request is over a stated bound."""

    code = "too_large"
    status = 413


class Unauthenticated(PlanebaseError):
    """Nobody we know is calling."""

    code = "unauthenticated"
    status = 401


class Forbidden(PlanebaseError):
    """The caller is known and may not do this."""

    code = "forbidden"
    status = 403


class NotFound(PlanebaseError):
    """There is no such thing for this caller; another tenant's answers the same."""

    code = "not_found"
    status = 404


class Conflict(PlanebaseError):
    """The present state refuses this."""

    code = "conflict"
    status = 409


class Gone(PlanebaseError):
    """What the caller goes on from is no longer there: begin again."""

    code = "gone"
    status = 410


class ConfirmationRequired(Conflict):
    """Something would be lost, and nobody has said by name that it may be."""

    code = "confirmation_required"


class InsufficientFunds(Conflict):
    """The wallet does not hold enough."""

    code = "insufficient_funds"


class PreconditionFailed(PlanebaseError):
    """The record has another version than the caller believed."""

    code = "precondition_failed"
    status = 412


class UnsupportedMediaType(PlanebaseError):
    """The body is in a format that is not read here."""

    code = "unsupported_media_type"
    status = 415


class RateLimited(PlanebaseError):
    """Too many calls; try again after `retry_after_s`."""

    code = "rate_limited"
    status = 429


class Unavailable(PlanebaseError):
    """A part that this needs is away; try again after `retry_after_s`."""

    code = "unavailable"
    status = 503


class StaleRoute(PlanebaseError):
    """The tenant's home has changed since the route was read: read it again and repeat."""

    code = "stale_route"
    status = 503


class StaleSchema(PlanebaseError):
    """Some table of the tenant has changed since it was read: load it again and repeat."""

    code = "stale_schema"
    status = 503
