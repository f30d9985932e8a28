-- History and audit stay as they were written for their owner too: rights bind only others. Partitions are still dropped whole, which is no DELETE.
-- Nothing runs for a row that is inserted.
create function refuse_rewrite() returns trigger
language plpgsql
as $$
begin
    raise insufficient_privilege using
        message = format('%s: %s is written once, and never changed', tg_op, tg_table_name),
        hint = 'Old history goes by whole partitions (drop_history). To correct a row write another one; to rewrite it all the same, its owner must '
            'disable the trigger refuse_rewrite first.';
end $$;
revoke execute on function refuse_rewrite from public;

create trigger refuse_rewrite before update or delete on history for each row execute function refuse_rewrite();
create trigger refuse_rewrite before update or delete on audit for each row execute function refuse_rewrite();
create trigger refuse_truncate before truncate on history for each statement execute function refuse_rewrite();
create trigger refuse_truncate before truncate on audit for each statement execute function refuse_rewrite();

-- A partition takes over its table's row triggers, but not those of a statement.
create function bind_partition(part text) returns void
language plpgsql
set search_path from current
as $$
begin
    execute format('create trigger refuse_truncate before truncate on %I for each statement execute function refuse_rewrite()', part);
end $$;
revoke execute on function bind_partition from public;

select bind_partition(c.relname) from pg_inherits i join pg_class c on c.oid = i.inhrelid where i.inhparent = 'history'::regclass;

create or replace function make_partitions(parent text, at bigint, size bigint, ahead integer) returns text[]
language plpgsql
set search_path from current
as $$
declare
    k bigint;
    part text;
    made text[] := '{}';
begin
    for k in at / size .. at / size + ahead loop
        part := parent || '_p' || k;
        if to_regclass(format('%I', part)) is null then
            execute format('create table %I partition of %I for values from (%s) to (%s)', part, parent, k * size, (k + 1) * size);
            if parent = 'history' then
                perform bind_partition(part);
            end if;
            made := made || format('made %s', part);
        end if;
    end loop;
    return made;
end $$;
