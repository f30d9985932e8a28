"""The broker's jars: fetched once, checked against known digests, kept in the user's cache."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from jgo.config import GlobalSettings
from jgo.maven import MavenContext
from jgo.parse import Coordinate

from stream.core.errors import ConfigurationError
from stream.dev.folders import DATA, cache, locked, whole

KAFKA_VERSION = "4.4.0"
WANTED = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
ATTEMPTS = 2

Say = Callable[[str], None]


def digests(path: Path = DATA / "jars.sha256") -> dict[str, str]:
    """File name -> SHA-256 of every jar the broker needs."""
    pairs = (line.split() for line in path.read_text().splitlines())
    return {name: digest for digest, name in pairs}


def jars(say: Say, fetch: Callable[[], Iterable[Path]] | None = None) -> list[Path]:
    """The jars, sorted by name, fetched when the cache lacks them. Several processes may call this at once; one fetches."""
    target = cache(f"kafka-{KAFKA_VERSION}")
    with locked(target.with_suffix(".lock")):
        if not target.exists():
            say(f"fetching Kafka {KAFKA_VERSION} (45 jars, 44 MB, once)")
            with whole(target) as draft:
                _fill(draft, fetch or _download)
    return sorted(target.glob("*.jar"))


def _fill(draft: Path, fetch: Callable[[], Iterable[Path]]) -> None:
    for path in fetch():
        shutil.copyfile(path, draft / path.name)
    check(draft, digests())


def check(folder: Path, expected: dict[str, str]) -> None:
    """ConfigurationError unless `folder` holds exactly the expected jars: the resolver itself only warns."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.jar")}
    if wrong := sorted({name for name, _ in found.items() ^ expected.items()}):
        raise ConfigurationError(f"Kafka's jars are not the expected ones ({', '.join(wrong[:5])}): empty jgo's cache folder and try again")


def _download() -> list[Path]:
    """Resolve and download through jgo; no repository is named here: its own default or the user's settings say where."""
    settings = GlobalSettings.load()
    context = MavenContext(repo_cache=settings.repo_cache, remote_repos=settings.repositories or None, timeout=60)
    wanted = [context.create_dependency(replace(Coordinate.parse(text), scope="compile")) for text in WANTED]
    for attempt in range(ATTEMPTS):
        try:
            direct, indirect = context.resolver.resolve(wanted)
            needed = [*direct, *(dependency for dependency in indirect if dependency.scope in ("compile", "runtime"))]
            return [Path(dependency.artifact.resolve()) for dependency in needed]
        except (OSError, RuntimeError) as error:
            if attempt + 1 == ATTEMPTS:
                raise ConfigurationError(f"Kafka's jars could not be fetched: {error}; give STREAM_KAFKA a broker's address instead") from error
    raise AssertionError("unreachable")
