"""Families about trace headers: read strictly, and never a reason to refuse an event."""

from __future__ import annotations

from collections.abc import Iterator

from tests.hostile.case import Case, Maker, family, own
from tests.hostile.texts import ALL, ODD_BYTES

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
OTHER = "5bf92f3577b34da6a3ce929d0e0e4736"
NEW = "new"
"""Stands for a trace of its own."""
OWN = "own"
"""Stands for a correlation id made from the identity."""


@family
def traceparent_valid(m: Maker) -> Iterator[Case]:
    for text in (
        *(f"00-{TRACE}-{SPAN}-{flags}" for flags in ("00", "01", "02", "03", "ff", "a1")),
        *(
            f"{version}-{TRACE}-{SPAN}-01{more}"
            for version in ("01", "02", "cc", "fe")
            for more in ("", "-", "-more", "-a-b-\u00e9", "-" + "x" * 900)
        ),
    ):
        yield m.taken(headers=own(m.id(), (b"traceparent", text.encode())), trace=TRACE)


@family
def traceparent_invalid(m: Maker) -> Iterator[Case]:
    good = f"00-{TRACE}-{SPAN}-01"
    said = (
        *(
            "",
            " ",
            "-",
            "---",
            "00",
            "null",
            good.upper(),
            good + " ",
            " " + good,
            good + "-",
            good + "-more",
            good + "\n",
            good[:-1],
            good[1:],
            "0" + good,
        ),
        *(
            f"ff-{TRACE}-{SPAN}-01",
            f"00-{'0' * 32}-{SPAN}-01",
            f"00-{TRACE}-{'0' * 16}-01",
            f"00-{TRACE}-{SPAN}-1",
            f"00-{TRACE}-{SPAN}-zz",
            f"0-{TRACE}-{SPAN}-01",
        ),
        *(
            f"00-{TRACE[:-1]}-{SPAN}-01",
            f"00-{TRACE}a-{SPAN}-01",
            f"00-{TRACE}-{SPAN[:-1]}-01",
            f"00-{TRACE[:-1]}g-{SPAN}-01",
            f"00 {TRACE} {SPAN} 01",
        ),
        *(
            f"00_{TRACE}_{SPAN}_01",
            f"{TRACE}-{SPAN}-1",
            f"00-{TRACE}-{SPAN}",
            f"01-{TRACE}-{SPAN}-01more",
            f"00-{TRACE}-{SPAN}-01," + good,
            "00-" + "f" * 4_000,
        ),
    )
    for text in (*(s.encode() for s in said), *ODD_BYTES, good.encode("utf-16"), good.encode() + b"\0", b"\0" * 64):
        yield m.taken(headers=own(m.id(), (b"traceparent", text)), trace=NEW)


@family
def traceparent_of_two(m: Maker) -> Iterator[Case]:
    """The transport's goes before the producer's, and of several the last."""
    one, other = (f"00-{trace}-{SPAN}-01".encode() for trace in (TRACE, OTHER))
    yield m.taken(headers=own(m.id(), (b"traceparent", one), traceparent=other), trace=TRACE)
    yield m.taken(headers=own(m.id(), traceparent=other), trace=OTHER)
    yield m.taken(headers=own(m.id(), (b"traceparent", one), (b"traceparent", other)), trace=OTHER)
    yield m.taken(headers=own(m.id(), (b"traceparent", None), traceparent=other), trace=OTHER)
    yield m.taken(headers=own(m.id(), (b"traceparent", b""), traceparent=other), trace=OTHER)
    yield m.taken(headers=own(m.id(), traceparent=b"rubbish"), trace=NEW)


@family
def tracestate_and_baggage(m: Maker) -> Iterator[Case]:
    members = b",".join(b"k%d=v" % n for n in range(200))
    for name in (b"tracestate", b"baggage", b"b3", b"uber-trace-id", b"x-request-id"):
        for value in (b"", members, b"a=" + b"v" * 8_200, b"=,=,;;", b"\xff=\xfe", b"a=b\r\nx: y", b"k=%00", None):
            yield m.taken(headers=own(m.id(), (name, value)), trace=NEW)


@family
def correlation_kept(m: Maker) -> Iterator[Case]:
    for text in ("a", "a" * 128, "A.b_c:d-0", "..", "-", ":", "0"):
        yield m.taken(headers=own(m.id(), correlationid=text.encode()), correlation=text)


@family
def correlation_replaced(m: Maker) -> Iterator[Case]:
    for text in (
        "a" * 129,
        "a b",
        "a/b",
        "a\n",
        "\u00e9",
        "\U0001f600",
        "a\x1b[31m",
        *(text for text in ALL if not text.isalnum() and len(text) > 3),
    ):
        if not all(c.isascii() and (c.isalnum() or c in "._:-") for c in text):
            yield m.taken(headers=own(m.id(), correlationid=text.encode()), correlation=OWN)
