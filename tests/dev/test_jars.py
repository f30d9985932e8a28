"""The broker's jars are the expected ones or none."""

from pathlib import Path

import pytest

from stream.core.errors import ConfigurationError
from stream.dev.folders import whole
from stream.dev.jars import digests, jars
from stream.dev.stack import quiet


def test_a_jar_with_other_bytes_is_refused_and_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    false = tmp_path / next(iter(digests()))
    false.write_bytes(b"not this")
    with pytest.raises(ConfigurationError, match="not the expected ones"):
        jars(quiet, lambda: [false])
    assert list(tmp_path.rglob("kafka-*.jar")) == []
    assert [path.name for path in (tmp_path / "opstream").iterdir() if path.is_dir()] == []


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill_half() -> None:
        with whole(tmp_path / "target") as draft:
            (draft / "half").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill_half()
    assert list(tmp_path.iterdir()) == []
