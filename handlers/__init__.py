"""The reference application: a service desk, and a control room that sends units to calls. Run it with `--app handlers:app`."""

from __future__ import annotations

from importlib.resources import files

from handlers.assignments import assignment
from handlers.calls import call
from handlers.tickets import ticket
from stream import App, Topic, days, parse_owners

OWNERS = files("handlers").joinpath("owners.toml").read_text(encoding="utf-8")


def application(owners: str = OWNERS) -> App:
    """The App, with its owners as the text of an `owners.toml` says."""
    return App(
        "operations",
        machines=(ticket, assignment, call),
        topics=(
            Topic("tickets", partitions=12),
            Topic("dispatch"),
            Topic("assignments"),
            Topic("calls"),
            Topic("customers"),
            Topic("billing"),
            Topic("alerts"),
        ),
        owners=parse_owners(owners),
        horizon=days(14),
    )


app = application()
