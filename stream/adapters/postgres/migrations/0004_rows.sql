-- Rows as the store sends them: arrays of these types instead of an array a column, which cost the client a check of every single value.

create type entity_row as (
    machine text,
    id text,
    expected bigint,
    version bigint,
    machine_version integer,
    state text,
    data bytea,
    since timestamptz,
    time timestamptz,
    n bigint,
    last_id bigint,
    chain bytea,
    sequences bytea,
    fired bytea,
    holds smallint
);

create type history_row as (
    id bigint,
    prev_id bigint,
    machine text,
    entity_id text,
    n bigint,
    outcome text,
    reason text,
    event_id text,
    event_type text,
    source text,
    actor text,
    from_state text,
    to_state text,
    time timestamptz,
    at timestamptz,
    correlation_id text,
    causation_id text,
    trace_id text,
    door text,
    error text,
    hash bytea
);

create type message_row as (
    shard smallint,
    topic text,
    key bytea,
    value bytea,
    headers bytea,
    machine text,
    entity_id text,
    message_id text,
    type text,
    correlation_id text
);
