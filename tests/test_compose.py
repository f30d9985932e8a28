"""The Compose file is well-formed and agrees with the local stack; nobody needs Docker to know that much."""

import re
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.dev.jaeger import JAEGER_VERSION
from stream.dev.jars import KAFKA_VERSION
from stream.dev.ports import HOST, KNOWN
from stream.dev.stack import Addresses

FILE = Path(__file__).parents[1] / "docker-compose.yml"
VALIDATE = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return loaded


def validate(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*VALIDATE, str(path)], capture_output=True, text=True, check=False)


def test_the_file_obeys_the_compose_schema() -> None:
    done = validate(FILE)
    assert done.returncode == 0, done.stdout


def test_the_schema_refuses_a_misspelt_key(tmp_path: Path) -> None:
    spoilt = tmp_path / "docker-compose.yml"
    spoilt.write_text(FILE.read_text().replace("healthcheck:", "heathcheck:", 1))
    assert validate(spoilt).returncode != 0


def test_it_publishes_the_ports_of_the_local_stack_on_the_loopback_only(compose: dict[str, Any]) -> None:
    published = [text.rsplit(":", 2) for service in compose["services"].values() for text in service.get("ports", ())]
    assert {host for host, _, _ in published} == {HOST}
    assert {int(port) for _, port, _ in published} == set(asdict(KNOWN).values())


def test_the_broker_sends_outside_clients_to_the_published_port(compose: dict[str, Any]) -> None:
    told = compose["services"]["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"OUTSIDE://{HOST}:{KNOWN.kafka}" in told


def test_the_app_is_told_of_every_part_by_the_variables_of_the_local_stack(compose: dict[str, Any]) -> None:
    given = compose["services"]["app"]["environment"]
    addresses = Addresses.of(given)
    assert set(addresses.variables()) == set(given) - {"STREAM_APP", "STREAM_ALLOW_INSECURE"}
    hosts = [re.search(r"(?:@|//|^)([a-z]+):\d+", value) for value in addresses.variables().values()]
    assert {found[1] for found in hosts if found} == {"kafka", "postgres", "jaeger"}


def test_versions_are_pinned_and_those_of_the_local_stack(compose: dict[str, Any]) -> None:
    images = {name: service["image"] for name, service in compose["services"].items()}
    assert all(re.search(r":\d+\.\d+(\.\d+)?$", image) for image in images.values()), images
    assert images["kafka"].endswith(f":{KAFKA_VERSION}")
    assert images["jaeger"].endswith(f":{JAEGER_VERSION}")
    assert images["postgres"].startswith("postgres:18")


def test_whoever_is_waited_for_can_say_that_it_is_ready(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_completed_successfully" or "healthcheck" in services[name], name


def test_the_image_holds_only_what_exists(compose: dict[str, Any]) -> None:
    copied = re.findall(r"^COPY (\S+) ", compose["services"]["app"]["build"]["dockerfile_inline"], re.M)
    assert copied
    assert all((FILE.parent / name).exists() for name in copied)
