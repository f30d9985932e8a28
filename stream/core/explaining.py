"""Why a clock was breached, where a rule of its author's says so. The breach itself is told whatever the rule does."""

from __future__ import annotations

from typing import cast

import msgspec

from stream.core.clock import SlaBreached
from stream.core.entity import Entity
from stream.core.errors import RAISED, described
from stream.core.ladder import Dial
from stream.core.machine import AnyMachine
from stream.core.text import safe


def explained(machine: AnyMachine, entity: Entity, dial: Dial, event: SlaBreached) -> tuple[SlaBreached, str]:
    """The breach with the code that its rule gives, and what is to be said of a rule that fails: then a person is asked, as without one."""
    rule, codes = dial.target.reason, dial.target.reasons
    event = msgspec.structs.replace(event, reasons=codes)
    if rule is None:
        return event, ""
    try:
        code = cast("object", rule(machine.decoder.decode(entity.data)))
    except RAISED as error:  # the author's code: a clock is told all the same
        return event, safe(f"no reason by rule: {described(error)}")
    if code == "":
        return event, ""
    if not isinstance(code, str) or code not in codes:
        return event, safe(f"no reason by rule: it says {code!r:.200}, which is none of {', '.join(codes)}")
    return msgspec.structs.replace(event, reason=code), ""
