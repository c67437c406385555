"""Calls that schemathesis makes from an app's OpenAPI, on the running app: what is answered is what is described."""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

SEED = 12
"""Of all that is drawn: the same calls in every run."""

_CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
_OF_THE_CLIENT = ("accept-encoding", "connection", "content-length", "user-agent")
KEYS = ("a key of these calls", "another of these")
"""Few, so that calls repeat what was done with one, or differ from it."""
_LINES = "application/x-ndjson"
_MOST_WRONG = 20
_MOSTLY = (True, True, True, False)

Case = schemathesis.Case[Any]
Choose = Callable[[Sequence[Any]], Any]
Mend = Callable[[Case, Choose], None]
"""Puts into a case what no schema says, choosing by the function that is given."""


@dataclass
class Service:
    """An app as a client reaches it; `known` are the ids that there are, by the names that OpenAPI gives them."""

    name: str
    document: dict[str, Any]
    http: httpx.AsyncClient
    authorization: str
    known: Mapping[str, Sequence[str]]
    mend: Mend | None = None
    answers: Counter[int] = field(default_factory=Counter)


async def conform(service: Service, examples: int, *, without: Sequence[str] = ()) -> None:
    """Call every operation `examples` times with what its schema allows and half as often with what it does not."""
    loop = asyncio.get_running_loop()
    schema = schemathesis.openapi.from_dict(service.document)
    wrong: list[str] = []
    for each in schema.get_all_operations():
        operation: Any = each.ok()  # type: ignore[union-attr]  # a fault in the document raises here
        if operation.label in without:
            continue
        for mode, count in ((GenerationMode.POSITIVE, examples), (GenerationMode.NEGATIVE, examples // 2)):
            found = await asyncio.to_thread(_tried, service, operation, mode, count, loop)
            wrong += [f"{operation.label}: {words}" for words in found]
        if len(wrong) >= _MOST_WRONG:
            break
    told = dict(sorted(service.answers.items()))
    print(f"{service.name}: {service.answers.total()} calls with seed {SEED}, by status {told}")  # noqa: T201
    assert not wrong, "\n\n".join(wrong)


def _tried(
    service: Service, operation: Any, mode: GenerationMode, count: int, loop: asyncio.AbstractEventLoop
) -> list[str]:
    wrong: dict[str, str] = {}

    @seed(SEED)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode), data=st.data())
    def call(case: Case, data: st.DataObject) -> None:
        def choose(values: Sequence[Any]) -> Any:
            return data.draw(st.sampled_from(values))

        _feed(service, case, choose)
        if service.mend is not None:
            service.mend(case, choose)
        answer = asyncio.run_coroutine_threadsafe(_sent(service, case), loop).result(timeout=60)
        if answer is None:
            return
        service.answers[answer.status_code] += 1
        for key, words in _faults(case, answer):
            wrong.setdefault(key, words)

    with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with what takes no parameter
        call()
    return list(wrong.values())


def _feed(service: Service, case: Case, choose: Choose) -> None:
    """Let most ids in path, query, headers and body be of what there is, so that calls get past 404."""
    if choose((True,) * 9 + (False,)):
        case.headers["Authorization"] = service.authorization
    is_there = choose((True,) * 9 + (False,))
    for place in (case.path_parameters, case.query, case.headers):
        for name in list(place or {}):
            if name in service.known and (is_there if place is case.path_parameters else choose(_MOSTLY)):
                place[name] = choose(service.known[name])
    if isinstance(case.body, dict):
        for name in list(case.body):
            if name in service.known and choose((True, False)):
                case.body[name] = choose(service.known[name])


async def _sent(service: Service, case: Case) -> httpx.Response | None:
    try:
        made = requests.Request(**case.as_transport_kwargs(base_url="http://test")).prepare()
        headers = {
            name.encode(): _bytes(value)
            for name, value in made.headers.items()
            if name.lower() not in _OF_THE_CLIENT
        }
        assert made.method is not None
        assert made.url is not None
        request = service.http.build_request(
            made.method, made.url, headers=[*headers.items()], content=_bytes(made.body)
        )
    except (ValueError, requests.RequestException, httpx.InvalidURL):
        return None  # what no client can send
    return await service.http.send(request)


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else body or b""


def _faults(case: Case, answer: httpx.Response) -> list[tuple[str, str]]:
    found = []
    request = answer.request
    call = (
        f"{request.method} {request.url} {request.content[:500]!r} {dict(case.headers or {})}\n"
        f"  → {answer.status_code} {answer.text[:600]}"
    )
    if answer.status_code == 503:
        if not answer.headers.get("retry-after", "").isdigit():
            found.append(("retry", f"503 without Retry-After\n  {call}"))
    elif answer.status_code >= 500:
        found.append((str(answer.status_code), f"a server error\n  {call}"))
    for part in _parts(answer):
        try:
            case.validate_response(part, checks=_CHECKS)
        except FailureGroup as group:
            found += [(f"{type(e).__name__}{answer.status_code}", f"{e}\n  {call}") for e in group.exceptions]
        except Failure as failure:
            found.append((f"{type(failure).__name__}{answer.status_code}", f"{failure}\n  {call}"))
    return found


def _parts(answer: httpx.Response) -> list[httpx.Response]:
    """Return what the schema speaks of: of lines each one."""
    if answer.headers.get("content-type") != _LINES:
        return [answer]
    parts = []
    for line in answer.text.splitlines():
        part = httpx.Response(
            answer.status_code, headers=answer.headers, content=line, request=answer.request
        )
        part.elapsed = answer.elapsed
        parts.append(part)
    return parts


@schemathesis.deserializer(_LINES)
def _line(_context: Any, response: Any) -> Any:
    return json.loads(response.content)
