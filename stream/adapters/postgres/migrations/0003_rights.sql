-- Rights of a worker role that owns nothing: no DDL, and what is written into the history, the outbox and the audit stays as it was written.

create function grant_worker(role name) returns void
language plpgsql
set search_path from current
as $$
declare
    home text := current_schema();
begin
    execute format('grant usage on schema %I to %I', home, role);
    execute format('grant usage on all sequences in schema %I to %I', home, role);
    execute format('grant select on all tables in schema %I to %I', home, role);
    execute format('grant insert on belonging, partition, inbox, inbox_1, inbox_2, entity, history, outbox, outbox_held, timer, waiting, dead_letter, door_count, audit to %I', role);
    execute format('grant update on partition, entity, outbox_position, outbox_held, timer, waiting, dead_letter, door_count to %I', role);
    execute format('grant delete on timer, waiting to %I', role);
    execute format('grant execute on function turn_inbox(interval), drop_outbox(bigint), drop_history(interval, bigint), make_ahead(bigint) to %I', role);
end $$;
revoke execute on function grant_worker from public;
