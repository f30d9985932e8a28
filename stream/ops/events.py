"""Events by hand: from a type and JSON to an event of the App, checked as what comes off a topic is, and for slips of the pen besides."""

from __future__ import annotations

import msgspec

from stream.core.catalog import Catalog
from stream.core.errors import RAISED, ConfigurationError, MalformedError, UnusableError, described
from stream.core.event import Event
from stream.core.route import Routes
from stream.ops.site import Site


def event_of(site: Site, type: str, data: bytes) -> Event:
    """An event of the App from its fields as JSON. Raises `ConfigurationError` with what is wrong with them."""
    catalog = Catalog(site.app.classes, site.settings.payload_limit)
    kind = catalog.find(type)
    if kind is None or not kind.__topic__:
        known = sorted(cls.__fact_type__ for cls in catalog.classes if cls.__topic__)
        raise ConfigurationError(f"the App takes no event of type {type!r}; it knows {', '.join(known)}")
    try:
        event = catalog.decode(kind, data)
    except MalformedError as error:
        raise ConfigurationError(f"not a {type}: {error.detail} ({error.reason})") from error
    # Whoever reads a topic lets pass what it does not know; here it is a slip of the pen, and what is published would not hold it.
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    if unknown := sorted(set(msgspec.json.decode(data)).difference(known)):
        raise ConfigurationError(f"not a {type}: it has no field {unknown[0]!r}, only {', '.join(known)}")
    try:
        Routes(site.app).route(event)
    except UnusableError as error:
        raise ConfigurationError(f"not a {type}: {error}") from error
    except RAISED as error:  # the author's routing function
        raise ConfigurationError(f"nobody could say whom this {type} is about: {described(error)}") from error
    return event
