import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import OffsetAndMetadata, TopicPartition

class NewTopic:
    def __init__(self, name: str, num_partitions: int, replication_factor: int, *, topic_configs: Mapping[str, str] | None = ...) -> None: ...

class NewPartitions:
    def __init__(self, total_count: int) -> None: ...

class _Reply:
    topic_errors: Sequence[tuple[Any, ...]]
    topic_error_codes: Sequence[tuple[Any, ...]]
    resources: Sequence[tuple[Any, ...]]

class AIOKafkaAdminClient:
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
    ) -> None: ...
    async def start(self) -> None: ...
    async def close(self) -> None: ...
    async def create_topics(self, new_topics: Sequence[NewTopic]) -> _Reply: ...
    async def delete_topics(self, topics: Sequence[str]) -> _Reply: ...
    async def create_partitions(self, topic_partitions: Mapping[str, NewPartitions]) -> _Reply: ...
    async def describe_topics(self, topics: Sequence[str] | None = ...) -> list[dict[str, Any]]: ...
    async def describe_configs(self, config_resources: Sequence[ConfigResource]) -> list[_Reply]: ...
    async def alter_configs(self, config_resources: Sequence[ConfigResource]) -> list[_Reply]: ...
    async def list_consumer_group_offsets(self, group_id: str) -> Mapping[TopicPartition, OffsetAndMetadata]: ...

from aiokafka.admin.config_resource import ConfigResource as ConfigResource
