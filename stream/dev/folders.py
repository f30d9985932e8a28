"""Where things that are fetched or built once are kept, and how many processes share them without harm."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

DATA = Path(__file__).parent / "data"


def cache(name: str) -> Path:
    """The user's cache folder for `name`; `XDG_CACHE_HOME` is honoured."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "opstream" / name


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Hold the lock file at `path`, waiting for whoever holds it; the kernel lets go when a holder dies."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def whole(target: Path) -> Generator[Path]:
    """A temporary folder that becomes `target` when the block ends well: nobody ever sees half of it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        draft.chmod(0o755)
        yield draft
        draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
