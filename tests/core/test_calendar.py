"""Working time by example: breaks, nights, weekends, holidays, hours that the wall clock jumps over or repeats; and calendars nobody can mean."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from stream import Calendar, DefinitionError, hours, minutes
from stream.core.calendar import passed

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = {"mon-thu": "08:00-12:00, 13:00-17:00", "fri": "08:00-14:00"}


def office(zone: str = "Europe/Berlin", week: Mapping[str, str] = OFFICE, closed: Collection[date] = ()) -> Calendar:
    return Calendar("office", zone, week, closed=closed)


def local(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


@pytest.mark.parametrize(
    ("start", "working", "end"),
    [
        ("2026-03-02T09:00", hours(2), "2026-03-02T11:00"),
        ("2026-03-02T09:00", hours(3), "2026-03-02T12:00"),  # reached when work stops, not when it goes on
        ("2026-03-02T09:00", hours(3) + timedelta(microseconds=1), "2026-03-02T13:00:00.000001"),
        ("2026-03-02T12:30", minutes(1), "2026-03-02T13:01"),
        ("2026-03-02T12:30", hours(0), "2026-03-02T12:30"),
        ("2026-03-05T16:00", hours(7), "2026-03-06T14:00"),
        ("2026-03-06T13:00", hours(2), "2026-03-09T09:00"),  # over the weekend
        ("2026-03-07T13:00", hours(1), "2026-03-09T09:00"),  # from a day without hours
    ],
)
def test_a_target_is_reached_after_so_much_working_time(start: str, working: timedelta, end: str) -> None:
    assert office().add(local(start), working) == local(end)


def test_two_hundred_working_days_are_two_hundred_days_of_work() -> None:
    week = Calendar("w", "Europe/Berlin", {"mon-fri": "09:00-17:00"})
    start = local("2026-01-05T09:00")
    assert week.add(start, 200 * hours(8)) == local("2026-10-09T17:00")
    assert week.between(start, local("2026-10-09T17:00")) == 200 * hours(8)


def test_time_between_two_instants_is_what_was_worked_and_negative_backwards() -> None:
    start, end = local("2026-03-06T13:30"), local("2026-03-09T13:30")
    assert office().between(start, end) == hours(5)
    assert office().between(end, start) == -hours(5)
    assert office().between(local("2026-03-07T01:00"), local("2026-03-08T23:00")) == timedelta(0)


def test_years_are_counted_through() -> None:
    always = Calendar("a", "Pacific/Kiritimati", {"mon-sun": "00:00-24:00"})
    start, end = datetime(2019, 12, 31, 23, 59, tzinfo=UTC), datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert always.between(start, end) == end - start
    assert always.add(start, end - start) == end


def test_the_same_instant_in_another_zone_is_the_same_to_a_calendar() -> None:
    tokyo = local("2026-03-02T09:00").astimezone(timezone(hours(9)))
    assert office().add(tokyo, hours(1)) == local("2026-03-02T10:00")
    assert office().add(tokyo, hours(1)).tzinfo is UTC


@pytest.mark.parametrize(("start", "end", "worked"), [("2026-03-28T22:00", "2026-03-29T06:00", 7), ("2026-10-24T22:00", "2026-10-25T06:00", 9)])
def test_a_night_shift_over_the_change_of_clocks_counts_what_it_lasts(start: str, end: str, worked: int) -> None:
    nights = office(week={"fri-sun": "22:00-06:00"})
    assert nights.between(local(start), local(end)) == hours(worked)
    assert nights.add(local(start), hours(worked)) == local(end)


@pytest.mark.parametrize(
    ("zone", "wall", "instant"),
    [
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00"),  # does not exist: when it is jumped over
        ("Europe/Berlin", "2026-03-29T03:00", "2026-03-29T01:00"),
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30"),  # comes twice: the first time
        ("Europe/Berlin", "2026-10-25T03:00", "2026-10-25T02:00"),
        ("America/Sao_Paulo", "2018-11-04T00:00", "2018-11-04T03:00"),  # a day without a midnight
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30"),  # half an hour's jump
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00"),  # a day that never was
    ],
)
def test_a_wall_clock_passes_a_time_once(zone: str, wall: str, instant: str) -> None:
    assert passed(ZoneInfo(zone), datetime.fromisoformat(wall)) == datetime.fromisoformat(instant).replace(tzinfo=UTC)


def test_spans_that_meet_in_the_hour_that_comes_twice_neither_overlap_nor_leave_a_gap() -> None:
    shifts = office(week={"sun": "00:00-02:30, 02:30-06:00"})
    midnight = local("2026-10-25T00:00")
    assert shifts.between(midnight, local("2026-10-25T12:00")) == hours(7)
    assert shifts.between(midnight, datetime(2026, 10, 25, 0, 30, tzinfo=UTC)) == minutes(150)


def test_nobody_works_on_the_holidays_of_a_region() -> None:
    week = {"mon-fri": "09:00-17:00"}
    epiphany = local("2026-01-05T16:00")
    assert Calendar("by", "Europe/Berlin", week, holidays=("DE", "BY")).add(epiphany, hours(2)) == local("2026-01-07T10:00")
    assert Calendar("de", "Europe/Berlin", week, holidays=("DE", "")).add(epiphany, hours(2)) == local("2026-01-06T10:00")
    assert Calendar("my", "Europe/Berlin", week, holidays=(date(2026, 1, 6), date(2026, 1, 7))).add(epiphany, hours(2)) == local("2026-01-08T10:00")


def test_days_off_and_days_with_hours_of_their_own() -> None:
    saturday, epiphany = date(2026, 1, 3), date(2026, 1, 6)
    mine = Calendar(
        *("mine", "Europe/Berlin", {"mon-fri": "09:00-17:00"}),
        holidays=("DE", "BY"), closed=(date(2026, 1, 5),), open={saturday: "10:00-11:00", epiphany: "12:00-13:00"},
    )  # fmt: skip
    assert mine.between(local("2026-01-03T00:00"), local("2026-01-07T00:00")) == hours(2)
    assert mine.add(local("2026-01-03T10:30"), hours(1)) == local("2026-01-06T12:30")


def test_a_night_shift_belongs_to_the_day_on_which_it_begins() -> None:
    nights = office(week={"mon-sun": "22:00-06:00"}, closed=(date(2026, 3, 3),))
    assert nights.between(local("2026-03-03T00:00"), local("2026-03-05T00:00")) == hours(6 + 2)


@pytest.mark.parametrize(("start", "working"), [("2026-03-02T09:00", hours(5300)), ("1700-01-01T00:00", hours(1)), ("2999-12-31T00:00", hours(1))])
def test_what_is_beyond_all_reach_is_an_error(start: str, working: timedelta) -> None:
    with pytest.raises(OverflowError, match="within 100 years"):
        office(week={"mon": "09:00-10:00"}).add(local(start), working)


def test_nothing_is_open_where_no_zone_has_rules() -> None:
    assert office().between(datetime(1, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)) == timedelta(0)
    assert office().between(datetime(3000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)) == timedelta(0)


def test_a_naive_instant_and_a_negative_time_are_refused() -> None:
    with pytest.raises(ValueError, match="has no zone"):
        office().add(datetime(2026, 3, 2, 9), hours(1))
    with pytest.raises(ValueError, match="has no zone"):
        office().between(datetime(2026, 3, 2, 9, tzinfo=UTC), datetime(2026, 3, 2, 10))
    with pytest.raises(ValueError, match="only passes forwards"):
        office().add(datetime(2026, 3, 2, 9, tzinfo=UTC), -hours(1))


@pytest.mark.parametrize(
    ("week", "says"),
    [
        ({}, "it has no working hours at all"),
        ({"mo": "09:00-17:00"}, "'mo' is no weekday and no range of them"),
        ({"mon-": "09:00-17:00"}, "'mon-' is no weekday and no range of them"),
        ({"mon": ""}, "the hours of mon are written like 09:00-12:00, 13:00-17:00, not ''"),
        ({"mon": "9-17"}, "the hours of mon are written like"),
        ({"mon": "09:00-24:30"}, "lie between 00:00 and 24:00, not '09:00-24:30'"),
        ({"mon": "24:00-02:00"}, "lie between 00:00 and 24:00, not '24:00-02:00'"),
        ({"mon": "09:00-09:00"}, "the hours of mon are empty: '09:00-09:00'"),
        ({"mon-wed": "09:00-17:00", "tue": "09:00-12:00"}, "the hours of tue are given twice"),
        ({"mon": "09:00-13:00, 12:00-17:00"}, "the hours of mon overlap: 09:00-13:00 and 12:00-17:00"),
        ({"mon": "22:00-06:00", "tue": "05:00-09:00"}, "the hours of mon overlap with those of the next day: 22:00-06:00 and 05:00-09:00"),
        ({"mon": "05:00-09:00", "sun": "22:00-06:00"}, "the hours of sun overlap with those of the next day"),
    ],
)
def test_hours_that_cannot_be_meant(week: Mapping[str, str], says: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        office(week=week)
    assert says in str(refused.value)
    assert str(refused.value).startswith("Calendar 'office': ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "a\0b", "Europe", "x" * 300, None])
def test_an_unknown_zone(zone: Any) -> None:
    with pytest.raises(DefinitionError, match="there is no zone"):
        office(zone)


@pytest.mark.parametrize(
    ("holidays", "says"),
    [
        (("XX", ""), "no holidays are known of country 'XX'"),
        (("DE", "ZZ"), "no holidays are known of country 'DE' and region 'ZZ'"),
        (("DE",), "holidays are dates or a country and a region"),
        ("DE", "holidays are dates or a country and a region"),
        (("DE", date(2026, 1, 1)), "holidays are dates or a country and a region"),
        ((datetime(2026, 1, 1),), "is no date"),
    ],
)
def test_holidays_that_cannot_be_meant(holidays: tuple[str, str], says: str) -> None:
    with pytest.raises(DefinitionError, match=says):
        Calendar("office", "Europe/Berlin", OFFICE, holidays=holidays)


def test_days_of_their_own_that_cannot_be_meant() -> None:
    monday, tuesday = date(2026, 3, 2), date(2026, 3, 3)
    with pytest.raises(DefinitionError, match="2026-03-02 is closed and open"):
        Calendar("c", "UTC", OFFICE, closed=(monday,), open={monday: "10:00-11:00"})
    with pytest.raises(DefinitionError, match="the hours of 2026-03-02 overlap with those of the next day: 22:00-06:00 and 05:00-07:00"):
        Calendar("c", "UTC", {"mon": "22:00-06:00"}, open={tuesday: "05:00-07:00"})
    with pytest.raises(DefinitionError, match="the hours of 2026-03-02 overlap with those of the next day"):
        Calendar("c", "UTC", OFFICE, open={monday: "22:00-09:00"})
    with pytest.raises(DefinitionError, match="it needs a name"):
        Calendar("", "UTC", OFFICE)


def test_holidays_of_a_country_without_their_package_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(DefinitionError, match=r"need the package holidays: pip install 'opstream\[calendars\]'"):
        Calendar("office", "Europe/Berlin", OFFICE, holidays=("DE", "BY"))
