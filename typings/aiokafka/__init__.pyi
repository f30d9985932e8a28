import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.conn import AIOKafkaConnection
from aiokafka.protocol.api import Request, RequestStruct, Response

R = TypeVar("R", bound=RequestStruct)

class TopicPartition(NamedTuple):
    topic: str
    partition: int

class RecordMetadata(NamedTuple):
    topic: str
    partition: int
    offset: int

class ConsumerRecord:
    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

class _Broker(NamedTuple):
    nodeId: int
    host: str
    port: int

class _Cluster:
    def brokers(self) -> set[_Broker]: ...
    def topics(self, exclude_internal_topics: bool = ...) -> set[str]: ...
    @property
    def unauthorized_topics(self) -> set[str]: ...

class _KafkaClient:
    cluster: _Cluster
    bootstrap: Any
    async def fetch_all_metadata(self) -> _Cluster: ...
    def get_random_node(self) -> int | None: ...
    async def send(self, node_id: int, request: Request[R]) -> Response: ...
    _sync_task: asyncio.Task[None] | None
    _conns: dict[object, AIOKafkaConnection]

class _GroupCoordinator:
    generation: int
    coordinator_id: int | None
    _coordination_task: asyncio.Task[None]
    _heartbeat_task: asyncio.Task[None] | None
    _do_heartbeat: Callable[[], Awaitable[bool]]

class _Fetcher:
    _fetch_task: asyncio.Task[None]
    _proc_fetch_request: Callable[[object, int, object], Awaitable[bool]]

class AIOKafkaConsumer:
    _session_timeout_ms: int
    _client: _KafkaClient
    _coordinator: _GroupCoordinator
    _fetcher: _Fetcher
    def __init__(
        self,
        *topics: str,
        bootstrap_servers: str = ...,
        client_id: str = ...,
        group_id: str | None = ...,
        request_timeout_ms: int = ...,
        metadata_max_age_ms: int = ...,
        security_protocol: str = ...,
        ssl_context: ssl.SSLContext | None = ...,
        sasl_mechanism: str = ...,
        sasl_plain_username: str | None = ...,
        sasl_plain_password: str | None = ...,
        auto_offset_reset: str = ...,
        enable_auto_commit: bool = ...,
        isolation_level: str = ...,
        partition_assignment_strategy: Sequence[type] = ...,
        session_timeout_ms: int = ...,
        heartbeat_interval_ms: int = ...,
        rebalance_timeout_ms: int = ...,
        max_poll_interval_ms: int = ...,
        fetch_max_bytes: int = ...,
        max_partition_fetch_bytes: int = ...,
        fetch_max_wait_ms: int = ...,
        check_crcs: bool = ...,
    ) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def topics(self) -> set[str]: ...
    def assign(self, partitions: Collection[TopicPartition]) -> None: ...
    def subscribe(self, topics: Sequence[str] = ..., *, listener: ConsumerRebalanceListener | None = ...) -> None: ...
    def assignment(self) -> set[TopicPartition]: ...
    def partitions_for_topic(self, topic: str) -> set[int] | None: ...
    def pause(self, *partitions: TopicPartition) -> None: ...
    def resume(self, *partitions: TopicPartition) -> None: ...
    def seek(self, partition: TopicPartition, offset: int) -> None: ...
    async def position(self, partition: TopicPartition) -> int: ...
    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = ..., max_records: int | None = ...
    ) -> dict[TopicPartition, list[ConsumerRecord]]: ...
    async def beginning_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def end_offsets(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]: ...
    async def commit(self, offsets: Mapping[TopicPartition, int] | None = ...) -> None: ...
    def last_poll_timestamp(self, partition: TopicPartition) -> int | None: ...
    def highwater(self, partition: TopicPartition) -> int | None: ...
    def last_stable_offset(self, partition: TopicPartition) -> int | None: ...

class BatchBuilder:
    def append(
        self, *, timestamp: int | None, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]] = ...
    ) -> object | None: ...
    def close(self) -> None: ...
    def record_count(self) -> int: ...
    def size(self) -> int: ...

class AIOKafkaProducer:
    client: _KafkaClient
    def __init__(
        self,
        *,
        bootstrap_servers: str = ...,
        client_id: str = ...,
        request_timeout_ms: int = ...,
        metadata_max_age_ms: int = ...,
        security_protocol: str = ...,
        ssl_context: ssl.SSLContext | None = ...,
        sasl_mechanism: str = ...,
        sasl_plain_username: str | None = ...,
        sasl_plain_password: str | None = ...,
        acks: str | int = ...,
        enable_idempotence: bool = ...,
        transactional_id: str | None = ...,
        compression_type: str | None = ...,
        max_batch_size: int = ...,
        max_request_size: int = ...,
        linger_ms: int = ...,
    ) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def partitions_for(self, topic: str) -> set[int]: ...
    def create_batch(self) -> BatchBuilder: ...
    async def send_batch(self, batch: BatchBuilder, topic: str, *, partition: int) -> asyncio.Future[RecordMetadata]: ...
    async def send_and_wait(
        self,
        topic: str,
        value: bytes | None = ...,
        key: bytes | None = ...,
        partition: int | None = ...,
        timestamp_ms: int | None = ...,
        headers: Sequence[tuple[str, bytes | None]] | None = ...,
    ) -> RecordMetadata: ...
    async def begin_transaction(self) -> None: ...
    async def commit_transaction(self) -> None: ...
    async def abort_transaction(self) -> None: ...

class OffsetAndMetadata(NamedTuple):
    offset: int
    metadata: str
