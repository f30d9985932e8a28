-- A clock's timer row holds its reading, and stays while the clock stands still: then it has no due instant. What an event did to clocks is
-- kept with it in the history.

alter table timer alter column due_at drop not null;
alter table timer add column reading bytea;

-- Clocks that run, and breaches of the present state: what entities noted as `fired` moves into the rows.
update timer t
set reading = convert_to(json_build_object(
    'target', 'PT' || extract(epoch from t.due_at - e.since) || 'S', 'level', 1, 'runs', e.since)::text, 'UTF8')
from entity e
where e.machine = t.machine and e.id = t.entity_id and t.name like 'sla %' and e.since is not null;

insert into timer (machine, entity_id, name, due_at, reading)
select e.machine, e.id, 'sla ' || f.key, null, convert_to(json_build_object(
    'target', 'PT' || extract(epoch from f.value::timestamptz - e.since) || 'S', 'level', 2, 'runs', e.since, 'breached', f.value)::text, 'UTF8')
from entity e
cross join lateral json_each_text(convert_from(e.fired, 'UTF8')::json) f
where e.fired is not null and e.since is not null
on conflict do nothing;
update entity set holds = holds | 1 where fired is not null;

alter table entity drop column fired;
alter type entity_row drop attribute fired;

alter table history add column clocks text;
create index history_clocks on history (machine, time) where clocks is not null;
alter type history_row add attribute clocks text;
