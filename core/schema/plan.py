"""A plan: the ordered steps from one spec to the next, and what must be confirmed before they are taken."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, SerializeAsAny

from core.errors import ConfirmationRequired, Fault
from core.schema import ops
from core.schema.spec import BaseSpec

Step = Annotated[SerializeAsAny[ops.Op], BeforeValidator(ops.load)]


class StepInfo(BaseModel):
    """One step as people and the API see it."""

    index: int
    kind: str
    label: str
    pointer: str
    lock: str
    destructive: bool
    reversible: bool
    confirmation: str | None


class Plan(BaseModel):
    """The desired spec with every id in it, and the steps that lead there; kept as JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    spec: BaseSpec
    steps: tuple[Step, ...] = ()

    @property
    def point_of_no_return(self) -> int:
        """How many steps can be undone; from there on each one succeeds when it is repeated long enough."""
        for index, step in enumerate(self.steps):
            if not step.reversible:
                return index
        return len(self.steps)

    def describe(self) -> list[StepInfo]:
        """Return the steps in plain words."""
        return [
            StepInfo(
                index=index,
                kind=step.kind,
                label=step.label(),
                pointer=step.pointer,
                lock=step.locks(),
                destructive=step.destructive,
                reversible=step.reversible,
                confirmation=step.confirmation,
            )
            for index, step in enumerate(self.steps)
        ]


def load_plan(data: dict[str, Any]) -> Plan:
    """Return a plan that was stored with `model_dump(mode="json")`."""
    return Plan.model_validate(data)


def follow(spec: BaseSpec, steps: Sequence[ops.Op]) -> BaseSpec:
    """Return the spec after these steps."""
    for step in steps:
        spec = step.apply(spec)
    return spec


def required_confirmations(plan: Plan) -> list[str]:
    """Return what a caller must send to have this plan carried out, in the order of the steps."""
    return [step.confirmation for step in plan.steps if step.confirmation is not None]


def check_confirmed(plan: Plan, confirm: Sequence[str]) -> None:
    """Raise ConfirmationRequired, naming what is missing, unless every destructive step was confirmed.

    More confirmations than needed are no fault: the same request may come again after its steps were taken.
    """
    missing = [step for step in plan.steps if step.confirmation and step.confirmation not in set(confirm)]
    if missing:
        raise ConfirmationRequired(
            f"{len(missing)} of the steps lose something: send each one's code in `confirm`",
            tuple(Fault("/confirm", step.confirmation or "", step.label()) for step in missing),
            required=required_confirmations(plan),
        )
