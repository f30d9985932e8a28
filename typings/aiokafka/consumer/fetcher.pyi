from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aiokafka import ConsumerRecord, TopicPartition

READ_COMMITTED: int
MemoryRecords: Callable[[bytes | None], Any]

class PartitionRecords:
    def __init__(
        self,
        tp: TopicPartition,
        records: object,
        aborted_transactions: Sequence[tuple[int, int]],
        fetch_offset: int,
        key_deserializer: None,
        value_deserializer: None,
        check_crcs: bool,
        isolation_level: int,
    ) -> None: ...
    def __iter__(self) -> Iterator[ConsumerRecord]: ...

class Fetcher:
    async def _fetch_requests_routine(self) -> None: ...
    async def _proc_fetch_request(self, assignment: object, node_id: int, request: object) -> bool: ...
