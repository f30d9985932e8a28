"""The words an author of handlers needs, and nothing else."""

from stream.core.app import App
from stream.core.calendar import Calendar
from stream.core.clock import Clock, Owner, Sla, SlaBreached, SlaEscalated, SlaWarned, SlaWithdrawn, days, hours, minutes, seconds
from stream.core.directory import Directory, parse_owners
from stream.core.errors import DefinitionError, StreamError
from stream.core.event import Command, Data, Event
from stream.core.machine import Machine
from stream.core.own import WaitExpired
from stream.core.record import Ref
from stream.core.row import Cause, State, about, any_of, anytime, opens
from stream.core.task import Task
from stream.core.topic import Topic
from stream.core.upcast import upcast

__all__ = [
    "App",
    "Calendar",
    "Cause",
    "Clock",
    "Command",
    "Data",
    "DefinitionError",
    "Directory",
    "Event",
    "Machine",
    "Owner",
    "Ref",
    "Sla",
    "SlaBreached",
    "SlaEscalated",
    "SlaWarned",
    "SlaWithdrawn",
    "State",
    "StreamError",
    "Task",
    "Topic",
    "WaitExpired",
    "about",
    "any_of",
    "anytime",
    "days",
    "hours",
    "minutes",
    "opens",
    "parse_owners",
    "seconds",
    "upcast",
]
