"""Build Jaeger and its page into the user's cache: `python -m stream.dev.build_jaeger`.

From Go modules alone, checked against the `go.sum` beside the list: module version 1.76.0 holds Jaeger 2.13.0 (later ones cannot be had
as modules), and its page comes from a module of its own, because Jaeger's embeds only a placeholder. Takes 5 minutes, 3 GB of temporary
disk and 4 GB of memory, once.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from stream.core.errors import ConfigurationError
from stream.dev.folders import DATA, cache, locked, whole
from stream.dev.jaeger import JAEGER_VERSION

MODULE = "github.com/jaegertracing/jaeger"
PAGES = "github.com/tonistiigi/jaeger-ui-rest"
GZIP = b"\x1f\x8b"


def build() -> Path:
    """The folder with `jaeger` and `ui`, built when it is not there. ConfigurationError without Go or when the build fails."""
    target = cache(f"jaeger-{JAEGER_VERSION}")
    with locked(target.with_name(target.name + ".lock")):
        if not (target / "jaeger").exists():
            go = shutil.which("go")
            if go is None:
                raise ConfigurationError("Jaeger is built with Go 1.25 or later, and there is no `go` here: install it, or put a jaeger on PATH")
            with whole(target) as draft:
                _build_into(draft, go)
    return target


def _build_into(draft: Path, go: str) -> None:
    # Not in the memory: 3 GB.
    with tempfile.TemporaryDirectory(prefix="jaeger-build-", dir="/var/tmp") as scratch:
        source = Path(scratch) / "source"
        shutil.copytree(DATA / "jaeger", source)
        env = _environment(Path(scratch))
        version = f"-X {MODULE}/internal/version.latestVersion=v{JAEGER_VERSION}"
        _run([go, "build", "-trimpath", f"-ldflags=-s -w {version}", "-o", str(draft / "jaeger"), f"{MODULE}/cmd/jaeger"], source, env)
        _run([go, "mod", "download", PAGES], source, env)
        pages = _run([go, "list", "-m", "-f", "{{.Dir}}", PAGES], source, env).strip()
        shutil.copytree(Path(pages) / "public", draft / "ui")
        unzip(draft / "ui")


def _environment(scratch: Path) -> dict[str, str]:
    """A module cache and a build cache of its own: nothing of 3 GB stays in the user's."""
    own = {"GOMODCACHE": str(scratch / "modules"), "GOCACHE": str(scratch / "build"), "GOTMPDIR": str(scratch), "CGO_ENABLED": "0"}
    return {**os.environ, **own, "GOFLAGS": "-mod=readonly -buildvcs=false -modcacherw"}


def _run(words: list[str], folder: Path, env: dict[str, str]) -> str:
    done = subprocess.run(words, cwd=folder, env=env, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ConfigurationError(f"`{' '.join(words[:3])}` failed; what it said is above")
    return done.stdout


def unzip(folder: Path) -> None:
    """The page's module keeps every file compressed under its plain name; Jaeger serves files as they are."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o644)  # modules are read-only
            content = path.read_bytes()
            if content.startswith(GZIP):
                path.write_bytes(gzip.decompress(content))


def main() -> int:
    try:
        print(build())
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
