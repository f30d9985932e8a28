"""One real Jaeger on the loopback, with its page; everything in it is forgotten when it ends."""

import shutil
import signal
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from string import Template

from stream.core.errors import ConfigurationError
from stream.dev.child import Child, Command
from stream.dev.folders import DATA, cache
from stream.dev.jars import Say
from stream.dev.ports import HOST, free_ports, is_free

JAEGER_VERSION = "2.13.0"
HOW_TO_GET = "no Jaeger here: `make jaeger` builds it once (Go needed, about 5 minutes); traces are not kept until then"
START_ATTEMPTS = 3


@dataclass(frozen=True)
class Built:
    """A Jaeger to start; `pages` is the folder with its page, without one it serves a placeholder."""

    program: Path
    pages: Path | None


def built() -> Built | None:
    """The Jaeger that `make jaeger` left in the user's cache, else one on PATH, else none."""
    folder = cache(f"jaeger-{JAEGER_VERSION}")
    if (folder / "jaeger").exists():
        return Built(folder / "jaeger", folder / "ui")
    found = shutil.which("jaeger")
    return Built(Path(found), None) if found else None


class Jaeger:
    """A Jaeger that takes spans by OTLP over HTTP on `otlp_port` and serves its page and its API on `ui_port`."""

    def __init__(self, home: Path, otlp_port: int, ui_port: int, say: Say) -> None:
        self.home, self.otlp_port, self.ui_port, self._say = home.absolute(), otlp_port, ui_port, say
        self._child: Child | None = None

    @property
    def otlp(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` takes."""
        return f"http://{HOST}:{self.otlp_port}"

    @property
    def api(self) -> str:
        """The address of the page; the API is below `/api`."""
        return f"http://{HOST}:{self.ui_port}"

    @property
    def child(self) -> Child:
        """Its process; AssertionError before it was started."""
        assert self._child is not None, "not started"
        return self._child

    def start(self) -> None:
        """Return when it is healthy, about 0.1 s. A port that somebody took meanwhile is replaced by another."""
        jaeger = built()
        if jaeger is None:
            raise ConfigurationError(HOW_TO_GET)
        self.home.mkdir(parents=True, exist_ok=True)
        self._say("starting Jaeger")
        for attempt in range(START_ATTEMPTS):
            try:
                return self._start_once(jaeger)
            except ConfigurationError:
                if attempt + 1 == START_ATTEMPTS:
                    raise
                self.otlp_port, self.ui_port = (port if is_free(port) else free_ports(1)[0] for port in (self.otlp_port, self.ui_port))
        return None

    def _start_once(self, jaeger: Built) -> None:
        health, query = free_ports(2)
        text = Template((DATA / "jaeger.yaml").read_text())
        filled = text.substitute(health=health, query=query, otlp=self.otlp_port, ui=self.ui_port, assets=jaeger.pages or "")
        settings = self.home / "jaeger.yaml"
        settings.write_text(filled)
        words = [str(jaeger.program), "--config", str(settings)]
        # Nothing to save, so nothing to wait for; alone it takes its time to end.
        self._child = Child(Command(name="Jaeger", words=words, log=self.home / "jaeger.log", end=signal.SIGTERM, patience=2))
        self._child.wait_until(lambda: _is_healthy(f"http://{HOST}:{health}/status"), within=30)

    def stop(self) -> None:
        if self._child:
            self._child.stop()


def _is_healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False
