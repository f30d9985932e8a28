"""Topics as they are, as they are declared, and the steps between; and where each log begins and ends."""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import TopicAuthorizationFailedError, for_code

from stream.adapters.kafka.deadline import bounded, ended
from stream.adapters.kafka.diagnosis import Network, started, stay
from stream.adapters.kafka.settings import KafkaSettings
from stream.adapters.kafka.tolerant import look_only, quieten
from stream.core.errors import ConfigurationError, StreamError
from stream.core.record import TopicPartition
from stream.core.topic import Topic

T = TypeVar("T")
_NEVER = -1
_SET_ON_TOPIC = 1


@dataclass(frozen=True, slots=True)
class Existing:
    """A topic of the cluster. `retention` None: kept for ever. `overrides`: the settings made on the topic itself.

    `sized`: old records also go when there are too many bytes; `compacted`: those whose key has a newer one go.
    """

    name: str
    partitions: int
    retention: timedelta | None
    overrides: Mapping[str, str] = field(default_factory=dict[str, str])
    sized: bool = False
    compacted: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do, or (`refuse`) one that cannot be done: partitions are never taken away, and `text` says so."""

    topic: Topic
    action: Literal["create", "grow", "retain", "refuse"]
    text: str


def plan(declared: Iterable[Topic], existing: Mapping[str, Existing]) -> list[Step]:
    """The steps from what is to what is declared, none when they agree. Settings nobody declared are left as they are."""
    return [step for topic in declared for step in _steps(topic, existing.get(topic.name))]


def _steps(topic: Topic, there: Existing | None) -> list[Step]:
    if there is None:
        return [Step(topic, "create", f"create {topic.name} with {topic.partitions} partitions")]
    steps: list[Step] = []
    if topic.partitions > there.partitions:
        text = f"grow {topic.name} from {there.partitions} to {topic.partitions} partitions: keys move, so let it drain first"
        steps.append(Step(topic, "grow", text))
    if topic.partitions < there.partitions:
        text = f"{topic.name} has {there.partitions} partitions and {topic.partitions} are declared: Kafka cannot take partitions away"
        steps.append(Step(topic, "refuse", text))
    if topic.retention is not None and topic.retention != there.retention:
        steps.append(Step(topic, "retain", f"keep {topic.name} for {topic.retention} (now {there.retention or 'for ever'})"))
    return steps


def require(topics: Collection[str], existing: Collection[str]) -> None:
    """Raises `ConfigurationError` naming the topics that are not there."""
    if missing := sorted(set(topics) - set(existing)):
        raise ConfigurationError(f"topics not found: {', '.join(missing)} - make them with `stream topics apply`")


class _Admin(AIOKafkaAdminClient):
    def network(self) -> Network:
        return self._client


class KafkaAdmin:
    """For commands, not for the path: every call raises `UnavailableError` when the broker does not answer in time."""

    def __init__(self, settings: KafkaSettings) -> None:
        quieten()
        look_only()
        self._settings = settings
        self._client = _Admin(**settings.connection())
        stay(self._client.network(), settings)

    async def __aenter__(self) -> KafkaAdmin:
        try:
            await started(self._client.start(), self._settings, "connecting")
        except StreamError:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await ended(self._client.close(), self._settings.stop)

    async def topics(self, names: Collection[str]) -> dict[str, Existing]:
        """Those of `names` that exist, with their retention."""
        if not names:
            return {}
        partitions = {str(t["topic"]): len(t["partitions"]) for t in await self._described(names) if t["error_code"] == 0}
        if not partitions:
            return {}
        asked = [ConfigResource(ConfigResourceType.TOPIC, name) for name in partitions]
        replies = await self._ask(self._client.describe_configs(asked), "reading topic settings")
        resources = [resource for reply in replies for resource in reply.resources]
        return {str(name): _existing(str(name), partitions[name], configs) for _, _, _, name, configs in resources}

    async def hidden(self, names: Collection[str]) -> list[str]:
        """Those of `names` that we have no right to see: they may be there or not."""
        found = await self._described(names) if names else ()
        return sorted(str(t["topic"]) for t in found if t["error_code"] == TopicAuthorizationFailedError.errno)

    async def _described(self, names: Collection[str]) -> Sequence[Mapping[str, Any]]:
        return await self._ask(self._client.describe_topics(sorted(names)), "describing topics")

    async def apply(self, steps: Sequence[Step]) -> None:
        """Does the steps of a `plan`. Raises `ConfigurationError` at the first that is refused, by us or by the broker; safe to run again."""
        if refused := [step.text for step in steps if step.action == "refuse"]:
            raise ConfigurationError("; ".join(refused))
        if created := [step.topic for step in steps if step.action == "create"]:
            await self._create(created)
        if grown := {step.topic.name: NewPartitions(step.topic.partitions) for step in steps if step.action == "grow"}:
            reply = await self._ask(self._client.create_partitions(grown), "growing topics")
            _check((code, name, message) for name, code, message in reply.topic_errors)
        if retained := [step.topic for step in steps if step.action == "retain"]:
            await self._retain(retained)

    async def _create(self, topics: Sequence[Topic]) -> None:
        nodes = len((await self._ask(self._client.describe_cluster(), "describing the cluster"))["brokers"])
        made = [NewTopic(t.name, t.partitions, min(3, nodes), topic_configs=_settings(t)) for t in topics]
        reply = await self._ask(self._client.create_topics(made), "creating topics")
        _check((code, name, message) for name, code, message in reply.topic_errors)

    async def _retain(self, topics: Sequence[Topic]) -> None:
        # The old form of this request, the only one aiokafka speaks, sets back whatever it does not name.
        there = await self.topics([t.name for t in topics])
        altered = [ConfigResource(ConfigResourceType.TOPIC, t.name, {**there[t.name].overrides, **_settings(t)}) for t in topics]
        replies = await self._ask(self._client.alter_configs(altered), "setting retention")
        _check((code, name, message) for reply in replies for code, message, _, name in reply.resources)

    async def bounds(self, topics: Collection[str]) -> dict[TopicPartition, tuple[int, int]]:
        """Begin and readable end of every partition of `topics`; an unknown topic is left out. Lag is this end less the stored position."""
        known = await self.topics(topics)
        places = [aiokafka.TopicPartition(t.name, n) for t in known.values() for n in range(t.partitions)]
        if not places:
            return {}
        reader = aiokafka.AIOKafkaConsumer(**self._settings.connection(), isolation_level="read_committed")
        try:
            await started(reader.start(), self._settings, "connecting")
            begins = await bounded(reader.beginning_offsets(places), self._settings.answer, "asking where logs begin")
            ends = await bounded(reader.end_offsets(places), self._settings.answer, "asking where logs end")
        finally:
            await ended(reader.stop(), self._settings.stop)
        return {TopicPartition(p.topic, p.partition): (begins[p], ends[p]) for p in places}

    async def _ask(self, call: Coroutine[Any, Any, T], what: str) -> T:
        return await bounded(call, self._settings.answer, what)


def _settings(topic: Topic) -> dict[str, str]:
    if topic.retention is None:
        return {}
    return {"retention.ms": str(int(topic.retention / timedelta(milliseconds=1)))}


def _existing(name: str, partitions: int, configs: Iterable[tuple[Any, ...]]) -> Existing:
    rows = [(str(c[0]), c[1], c[3] == _SET_ON_TOPIC) for c in configs]
    said = {key: str(value) for key, value, _ in rows}
    kept = int(said.get("retention.ms", _NEVER))
    overrides = {key: str(value) for key, value, own in rows if own and value is not None}
    return Existing(
        name,
        partitions,
        None if kept == _NEVER else timedelta(milliseconds=kept),
        overrides,
        sized=int(said.get("retention.bytes", _NEVER)) != _NEVER,
        compacted="compact" in said.get("cleanup.policy", ""),
    )


def _check(errors: Iterable[tuple[int, str, str | None]]) -> None:
    if failed := [f"{name}: {message or for_code(code).__name__}" for code, name, message in errors if code]:
        raise ConfigurationError("Kafka refused: " + "; ".join(failed))
