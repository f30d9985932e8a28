"""The steps of the path, and the points of the matrix."""

from __future__ import annotations

from collections.abc import Mapping

STEPS: Mapping[str, str] = {
    "begin": "begin",
    "begin_plain": "begin",
    "claim_partitions": "claim",
    "floors": "floors",
    "clocks": "clocks",
    "first_sight": "first sight",
    "contents": "contents",
    "stubs": "stubs",
    "entities": "lock",
    "timers": "timers",
    "lines": "lines",
    "history_block": "number",
    "save_entities": "save entities",
    "drop_timers": "drop timers",
    "set_timers": "set timers",
    "drop_lines": "drop lines",
    "add_lines": "add lines",
    "add_history": "save history",
    "add_messages": "save messages",
    "add_letters": "save letters",
    "move_partitions": "save position",
    "count_doors": "save counts",
    "commit": "commit",
    "see_partition": "see partition",
    "adopt": "adopt",
    "recognize": "recognize",
    "note_instance": "note instance",
    "note_drained": "note drained",
    "time": "time",
    "backlog": "backlog",
    "see_relay": "see relay",
    "lease_shards": "lease",
    "forget_relays": "forget relays",
    "release_shards": "release",
    "renew_shards": "renew",
    "read_shard": "read",
    "hold": "hold",
    "move_shard": "move",
    "times": "clocks",
    "feeds": "feeds",
    "unsent": "unsent",
    "due": "due",
    "make_ahead": "make ahead",
    "turn_inbox": "turn inbox",
    "drop_outbox": "drop outbox",
    "drop_history": "drop history",
    "drop_notices": "drop notices",
    "tasks": "tasks",
    "close_tasks": "close tasks",
    "open_tasks": "open tasks",
    "add_notices": "save notices",
    "lease_notices": "lease notices",
    "settle_notice": "settle notice",
}
"""The step of each statement that a running process executes."""

POINTS: Mapping[str, tuple[str, ...]] = {
    "reading": (
        *("join:after", "bounds:after", "adopt:before", "see partition:after", "adopt:after", "recognize:after", "seek:before", "seek:after"),
        *("fetch:after", "mirror:before", "mirror:after"),
    ),
    "claiming": (
        *("begin:before", "begin:after", "claim:before", "claim:after", "clocks:after"),
        *("floors:after", "first sight:before", "first sight:after", "contents:after"),
    ),
    "loading": ("stubs:before", "stubs:after", "lock:after", "timers:after", "lines:after"),
    "saving": (
        *("number:after", "save entities:before", "save entities:after"),
        *("drop timers:after", "set timers:after", "drop lines:after", "add lines:after"),
        *("save history:before", "save history:after", "save messages:before", "save messages:after"),
        *("save letters:before", "save letters:after", "save position:before", "save position:after"),
    ),
    "committing": (
        "commit:before",
        "commit:after",
        "committed:after",
        "note drained:before",
        "note drained:after",
        "time:after",
        "backlog:after",
        "note instance:after",
    ),
    "sending": (
        *(
            "relay/see relay:after",
            "relay/lease:before",
            "relay/lease:after",
            "relay/release:after",
            "relay/forget relays:after",
            "relay/renew:after",
        ),
        *("relay/read:after", "publisher:after", "send:before", "send:after", "relay/begin:after"),
        *("relay/hold:after", "relay/move:before", "relay/move:after", "relay/commit:after"),
    ),
    "firing": (
        *(
            "ticker/clocks:after",
            "ticker/feeds:after",
            "ticker/unsent:after",
            "ticker/due:after",
            "timers/clocks:after",
            "timers/lock:after",
            "timers/timers:after",
        ),
        *("timers/save entities:after", "timers/drop timers:after", "timers/save history:after", "timers/save messages:after"),
        *("timers/save counts:before", "timers/save counts:after", "timers/commit:before", "timers/commit:after", "timers/committed:after"),
    ),
    "rotating": (
        *("ticker/make ahead:before", "ticker/make ahead:after", "ticker/turn inbox:after"),
        *("ticker/drop outbox:after", "ticker/drop history:after", "ticker/drop notices:after"),
    ),
}
"""Where a process may fail, by the part of its work."""

PEOPLED: Mapping[str, tuple[str, ...]] = {
    "asking": (
        *("number:after", "save entities:after", "drop timers:after", "set timers:after", "drop lines:after", "add lines:after"),
        *("close tasks:before", "close tasks:after", "open tasks:before", "open tasks:after", "save history:after", "save messages:after"),
        *("save notices:before", "save notices:after", "save position:after", "commit:before", "commit:after", "committed:after"),
    ),
    "ringing": (
        *("ticker/due:after", "timers/lock:after", "timers/timers:after", "timers/lines:after", "timers/save entities:after"),
        *("timers/set timers:after", "timers/drop timers:after", "timers/close tasks:before", "timers/close tasks:after"),
        *("timers/open tasks:before", "timers/open tasks:after", "timers/save history:after", "timers/save messages:after"),
        *("timers/save notices:before", "timers/save notices:after", "timers/save counts:after"),
        *("timers/commit:before", "timers/commit:after", "timers/committed:after"),
    ),
    "answering": (
        *("desk/begin:before", "desk/begin:after", "desk/clocks:after", "desk/note order:before", "desk/note order:after"),
        *("desk/lock:after", "desk/timers:after", "desk/tasks:before", "desk/tasks:after", "desk/number:after"),
        *("desk/save entities:before", "desk/save entities:after", "desk/drop timers:after", "desk/set timers:after"),
        *("desk/close tasks:before", "desk/close tasks:after", "desk/open tasks:before", "desk/open tasks:after"),
        *("desk/save history:before", "desk/save history:after", "desk/save messages:after", "desk/save notices:after"),
        *("desk/save counts:after", "desk/commit:before", "desk/commit:after", "desk/committed:after"),
    ),
    "telling": (
        *("notifier/lease notices:before", "notifier/lease notices:after", "tell:before", "tell:after"),
        *("notifier/settle notice:before", "notifier/settle notice:after"),
    ),
}
"""The same where people are asked, answer and are told, and numbers are waited for."""
