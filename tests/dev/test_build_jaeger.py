"""Building Jaeger is asked for once and says what it lacks."""

import gzip
from pathlib import Path

import pytest

from stream.core.errors import ConfigurationError
from stream.dev.build_jaeger import build, unzip
from stream.dev.folders import cache
from stream.dev.jaeger import JAEGER_VERSION, built


def test_without_go_it_says_so_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ConfigurationError, match="no `go` here"):
        build()
    assert built() is None


def test_what_was_built_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    folder = cache(f"jaeger-{JAEGER_VERSION}")
    folder.mkdir(parents=True)
    (folder / "jaeger").touch()
    assert build() == folder


def test_compressed_pages_are_unpacked_and_plain_ones_left(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes(gzip.compress(b"<html>"))
    (tmp_path / "logo.svg").write_bytes(b"<svg>")
    unzip(tmp_path)
    assert (tmp_path / "index.html").read_bytes() == b"<html>"
    assert (tmp_path / "logo.svg").read_bytes() == b"<svg>"
