"""What became of a record, and of each entity it concerns: closed lists, counted in two identities.

Per partition, in the transaction that caused them:
    admitted + duplicate + conflict + dead + skipped = records
    applied + ignored + deferred + rejected + parked = entities concerned by admitted records
"""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """What became of a record."""

    ADMITTED = "admitted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    DEAD = "dead"
    SKIPPED = "skipped"


class Outcome(StrEnum):
    """What became of one entity that an admitted record concerns."""

    APPLIED = "applied"
    IGNORED = "ignored"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    PARKED = "parked"


class Reason(StrEnum):
    """Why something was not simply applied; one word a cause. Stable: operators filter and alert by it."""

    # bytes
    UNDECODABLE = "undecodable"
    TOO_LARGE = "too_large"
    HEADER_LIMIT = "header_limit"
    NO_DATA = "no_data"
    # envelope
    MISSING_ATTRIBUTE = "missing_attribute"
    UNSUPPORTED_CONTENT_MODE = "unsupported_content_mode"
    UNKNOWN_TYPE = "unknown_type"
    SCHEMA_INVALID = "schema_invalid"
    UNSAFE_TEXT = "unsafe_text"
    UNSAFE_NUMBER = "unsafe_number"
    TOO_DEEP = "too_deep"
    TOO_OLD = "too_old"
    TOO_NEW = "too_new"
    # identity
    ID_CONFLICT = "id_conflict"
    # entity
    NO_TRANSITION = "no_transition"
    GUARD_REFUSED = "guard_refused"
    NOT_ALLOWED = "not_allowed"
    EARLY = "early"
    UNBORN = "unborn"
    GAP = "gap"
    LATE = "late"
    DEFERRED_TOO_LONG = "deferred_too_long"
    HANDLER_FAILED = "handler_failed"
    BEHIND = "behind"
    ROUTE_FAILED = "route_failed"
    # people
    MANUAL = "manual"
