"""Which topic this is: the id that Kafka gives a topic when it is made, and that a topic made anew under the same name does not have.

aiokafka asks for metadata in a form from before there were such ids; the form asked here is Kafka's since 2.8.
"""

from __future__ import annotations

from typing import cast

from aiokafka.errors import for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Boolean, CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from stream.ports import TopicNow

_TEXT, _TAGS = CompactString("utf-8"), ("tags", TaggedFields)
_NODES = CompactArray(Int32)


class _Answer(Response):
    API_KEY, API_VERSION = 3, 10
    SCHEMA = Schema(
        ("throttled", Int32),
        ("brokers", CompactArray(("node", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT), _TAGS)),
        ("cluster", _TEXT),
        ("controller", Int32),
        (
            "topics",
            CompactArray(
                ("error", Int16),
                ("name", _TEXT),
                # The id is 16 bytes; the library has no type for them.
                ("high", Int64),
                ("low", Int64),
                ("internal", Boolean),
                (
                    "partitions",
                    CompactArray(
                        *(("error", Int16), ("partition", Int32), ("leader", Int32), ("leader_epoch", Int32)),
                        *(("replicas", _NODES), ("in_sync", _NODES), ("offline", _NODES), _TAGS),
                    ),
                ),
                ("may", Int32),
                _TAGS,
            ),
        ),
        ("may", Int32),
        _TAGS,
    )


class _Question(RequestStruct):
    API_KEY, API_VERSION, FLEXIBLE_VERSION = 3, 10, True
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", CompactArray(("high", Int64), ("low", Int64), ("name", _TEXT), _TAGS)),
        ("create", Boolean),
        ("cluster_rights", Boolean),
        ("topic_rights", Boolean),
        _TAGS,
    )


class Ask(Request[_Question]):
    """Asks for one topic, and never makes it."""

    API_KEY = 3

    def __init__(self, topic: str) -> None:
        self._topic = topic

    def build(self, request_struct_class: type[_Question]) -> _Question:
        tags: dict[int, bytes] = {}
        return request_struct_class(topics=[(0, 0, self._topic, tags)], create=False, cluster_rights=False, topic_rights=False, tags=tags)


def read(answer: Response) -> TopicNow:
    """Raises the client's error for what the broker says of the topic: it is not there, or may not be looked at."""
    error, _, high, low, _, partitions, *_ = cast("list[tuple[int, str, int, int, bool, list[object], int, object]]", vars(answer)["topics"])[0]
    if error:
        raise for_code(error)
    return TopicNow(f"{high % 2**64:016x}{low % 2**64:016x}", len(partitions))
