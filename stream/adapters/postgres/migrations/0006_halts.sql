-- Halted partitions, decisions about them in the audit, and processes that say what they wait for.

-- A halt is columns of the partition's own row, because it is set and lifted under the same epoch as everything else of it.
alter table partition
    add column topic_id text,
    add column topic_partitions integer,
    add column halted_since timestamptz,
    add column halted_by text,
    add column halt_reason text,
    add column halt_seen jsonb,
    add constraint a_halt_is_whole check (num_nulls(halted_since, halted_by, halt_reason, halt_seen) in (0, 4)),
    add constraint a_halt_has_a_known_reason check (
        halt_reason in ('overrun', 'offset_ahead', 'truncated', 'made_anew', 'partition_added', 'unreadable_batch', 'refused')
    );

-- How many partitions a topic had when its partitions were first adopted: one beyond them was added later.
update partition p set topic_partitions = (select max(q.partition) + 1 from partition q where q.topic = p.topic);
alter table partition alter column topic_partitions set not null;

alter table audit add column before jsonb, add column after jsonb;

-- A process that runs, as it says itself every few seconds: its roles, and what it waits for (what, detail, since).
create table instance (
    owner text primary key,
    roles text[] not null,
    started_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    waits jsonb not null
) with (fillfactor = 50);

create or replace function grant_worker(role name) returns void
language plpgsql
set search_path from current
as $$
declare
    home text := current_schema();
begin
    execute format('grant usage on schema %I to %I', home, role);
    execute format('grant usage on all sequences in schema %I to %I', home, role);
    execute format('grant select on all tables in schema %I to %I', home, role);
    execute format('grant insert on belonging, partition, inbox, inbox_1, inbox_2, entity, history, outbox, outbox_held, timer, waiting, dead_letter, door_count, audit, relay, instance to %I', role);
    execute format('grant update on partition, entity, outbox_position, outbox_held, timer, waiting, dead_letter, door_count, relay, instance to %I', role);
    execute format('grant delete on timer, waiting, relay, instance to %I', role);
    execute format('grant execute on function turn_inbox(interval), drop_outbox(bigint), drop_history(interval, bigint), make_ahead(bigint) to %I', role);
end $$;
