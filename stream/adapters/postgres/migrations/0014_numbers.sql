-- The number of the last event that had its turn, of machines that order by one; and of an event that waits. A type of rows is never changed: a new one.
alter table entity add column number bigint not null default 0;
alter table waiting add column number bigint;

create type entity_row_14 as (
    machine text, id text, expected bigint, version bigint, machine_version integer, state text, data bytea, since timestamptz, time timestamptz,
    n bigint, last_id bigint, chain bytea, sequences bytea, holds smallint, number bigint
);
