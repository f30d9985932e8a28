from collections.abc import Callable

from aiokafka.protocol.metadata import MetadataRequest as _Request

MetadataRequest: Callable[[list[str] | None], _Request]
