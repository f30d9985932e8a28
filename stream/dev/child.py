"""A child process that never outlives its launcher."""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stream.core.errors import ConfigurationError

PR_SET_PDEATHSIG = 1
TICK = 0.02


@dataclass(frozen=True)
class Account:
    """The user a child runs as, when not ours."""

    user: int
    group: int


@dataclass(frozen=True, kw_only=True)
class Command:
    """What to start and how to end it."""

    name: str
    words: Sequence[str]
    log: Path
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    account: Account | None = None
    end: signal.Signals = signal.SIGTERM
    patience: float = 10.0


def other_account() -> Account | None:
    """Whom to become for programs that refuse to run as root; None when we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ConfigurationError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody: run as another user")


def _die_with(parent: int, end: signal.Signals) -> Callable[[], None] | None:
    """What the child does before its program starts: ask the kernel for `end` when its launcher dies, even by kill -9."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, int(end), 0, 0, 0)
        if os.getppid() != parent:  # it died between the fork and the line above
            os._exit(1)

    return ask


class Child:
    """A running command. Start it from the main thread: the kernel's death signal follows the *thread* that started it.

    It gets a session of its own, so that Ctrl-C reaches the launcher alone, which then ends the parts in order.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        account = command.account
        with command.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(command.words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=dict(command.env),
                cwd=command.log.parent,
                start_new_session=True,
                user=account.user if account else None,
                group=account.group if account else None,
                extra_groups=[] if account else None,
                preexec_fn=_die_with(os.getpid(), command.end),
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool], within: float) -> None:
        """Return once `ready()`; ConfigurationError with the end of the log when the child ends or time does."""
        deadline = time.monotonic() + within
        while not ready():
            if not self.is_alive:
                raise ConfigurationError(f"{self.command.name} ended while starting; the end of {self.command.log}:\n{self.last_words()}")
            if time.monotonic() > deadline:
                self.kill()
                raise ConfigurationError(f"{self.command.name} was not ready within {within:.0f} s; see {self.command.log}")
            time.sleep(TICK)

    def last_words(self) -> str:
        """The end of what it logged."""
        return self.command.log.read_bytes()[-2000:].decode(errors="replace")

    def stop(self) -> None:
        """End it in its own way; after its patience, at once. Stopping twice is fine."""
        if not self.is_alive:
            return
        self._process.send_signal(self.command.end)
        try:
            self._process.wait(self.command.patience)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process.kill()
        self._process.wait()
