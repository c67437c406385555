"""What Temporal is told of an error: try again, when, or give up; and nothing that callers may not see."""

from datetime import timedelta

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError
from temporalio.exceptions import ActivityError, ApplicationError, ApplicationErrorCategory

from core.errors import Conflict, Fault, Invalid, StaleRoute, Unavailable
from workers.interceptors import busy_delay, translate
from workflows.status import problem_of


def of_state(state: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": state, "M": "key (email)=(ada@example.com)"})


def wrapped(state: str) -> DBAPIError:
    return DBAPIError("select 1", None, of_state(state))


@pytest.mark.parametrize("make", [of_state, wrapped])
@pytest.mark.parametrize(
    ("state", "kind", "final"),
    [
        ("55P03", "busy", False),
        ("40P01", "busy", False),
        ("57014", "busy", False),
        ("57P01", "away", False),
        ("08006", "away", False),
        ("53300", "away", False),
        ("23505", "refused", True),
        ("22P02", "refused", True),
        ("42501", "internal", True),
        ("42P01", "internal", True),
    ],
)
def test_a_database_error_says_whether_trying_again_helps(make, state: str, kind: str, final: bool):
    told = translate(make(state), attempt=1)
    assert isinstance(told, ApplicationError)
    assert (told.type, told.non_retryable) == (kind, final)
    assert (told.next_retry_delay is not None) == (kind == "busy")


@pytest.mark.parametrize(
    "error", [ConnectionRefusedError(), TimeoutError(), asyncpg.InterfaceError("closed")]
)
def test_a_database_that_does_not_answer_is_waited_for(error: Exception):
    told = translate(error, attempt=1_000)
    assert isinstance(told, ApplicationError)
    assert (told.type, told.non_retryable) == ("away", False)


def test_a_refusal_of_ours_is_final_and_keeps_its_words_and_pointers():
    told = translate(Invalid("no", (Fault("/a", "x", "bad"),), code="no_such"), attempt=1)
    assert isinstance(told, ApplicationError)
    assert told.non_retryable
    assert told.category == ApplicationErrorCategory.BENIGN
    problem = problem_of(told)
    assert problem.model_dump() == {
        "code": "no_such",
        "detail": "no",
        "errors": [{"pointer": "/a", "code": "x", "detail": "bad"}],
    }


@pytest.mark.parametrize("error", [StaleRoute("moved"), Unavailable("away", retry_after_s=2)])
def test_what_holds_only_for_now_is_tried_again(error: Exception):
    told = translate(error, attempt=1)
    assert isinstance(told, ApplicationError)
    assert not told.non_retryable


def test_the_delay_that_a_refusal_names_is_kept():
    told = translate(Unavailable("away", retry_after_s=2), attempt=1)
    assert isinstance(told, ApplicationError)
    assert told.next_retry_delay == timedelta(seconds=2)


def test_what_nobody_foresaw_is_given_up_after_ten_tries():
    error = KeyError("x")
    assert translate(error, attempt=9) is error
    told = translate(error, attempt=10)
    assert isinstance(told, ApplicationError)
    assert told.non_retryable


def test_waiters_for_a_lock_do_not_come_back_together():
    delays = {busy_delay(3) for _ in range(20)}
    assert len(delays) > 10
    assert max(busy_delay(attempt) for attempt in range(1, 200)) <= timedelta(seconds=30)


@pytest.mark.parametrize("error", [of_state("23505"), of_state("42P01"), KeyError("ada@example.com")])
def test_callers_are_told_no_value_and_no_statement(error: Exception):
    cause = translate(error, attempt=10)
    failure = ActivityError(
        "failed", scheduled_event_id=1, started_event_id=2, identity="", activity_type="place",
        activity_id="1", retry_state=None,
    )  # fmt: skip
    failure.__cause__ = cause
    problem = problem_of(failure)
    assert problem.code in ("refused", "internal")
    assert "ada" not in problem.detail
    assert problem.detail.startswith("place: ")


def test_a_conflict_names_its_own_code():
    told = translate(Conflict("x", code="stale_parent"), attempt=1)
    assert isinstance(told, ApplicationError)
    assert told.type == "stale_parent"
