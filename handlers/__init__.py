"""The reference application: a service desk, and a control room that sends units to calls. Run it with `--app handlers:app`."""

from __future__ import annotations

from handlers.assignments import assignment
from handlers.calls import call
from handlers.tickets import ticket
from stream import App, Topic

app = App(
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
)
