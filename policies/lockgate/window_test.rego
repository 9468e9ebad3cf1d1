package lockgate.window_test

import data.lockgate
import data.lockgate.library_test as base

every_day := {"Monday": true, "Tuesday": true, "Wednesday": true, "Thursday": true, "Friday": true, "Saturday": true, "Sunday": true}

window(zone, from, to) := {
	"name": "w", "targets": null, "zone": zone, "days": every_day, "days_after": every_day,
	"from": from, "to": to, "closed_on": [],
}

freeze := {"name": "year end", "targets": null, "from": "2026-12-18T17:00:00", "until": "2027-01-04T05:00:00"}

exception := {
	"name": "CHG-7", "rules": {"freeze_period": true}, "subjects": [{"issuer": {"i": true}, "subject": {"a1": true}}],
	"actions": null, "targets": null, "until": "2026-12-24T12:00:00",
}

held(now, data_) := base.rules(d) if {
	nothing := {"windows": [], "freezes": [], "exceptions": []}
	d := lockgate.apply.decision with input as base.ask("apply", {"plan": base.plan, "context": {"now": now, "freeze": false}})
		with data.lockgate.parameters as object.union(base.parameters, object.union(nothing, data_))
}

test_the_zones_own_clock_counts_on_both_sides_of_summer_time if {
	nine_to_ten := {"windows": [window("Europe/Berlin", 540, 600)]}
	held("2026-03-28T08:30:00Z", nine_to_ten) == set()
	held("2026-03-29T08:30:00Z", nine_to_ten) == {"change_window"}
	held("2026-03-29T07:30:00Z", nine_to_ten) == set()
}

test_an_hour_that_is_skipped_opens_nothing_and_one_that_comes_twice_opens_twice if {
	two_to_three := {"windows": [window("Europe/Berlin", 120, 180)]}
	held("2026-03-29T00:59:59Z", two_to_three) == {"change_window"}
	held("2026-03-29T01:00:00Z", two_to_three) == {"change_window"}
	held("2026-10-25T00:30:00Z", two_to_three) == set()
	held("2026-10-25T01:30:00Z", two_to_three) == set()
	held("2026-10-25T02:00:00Z", two_to_three) == {"change_window"}
}

test_half_an_hour_and_the_south if {
	half_past_one := {"windows": [window("Australia/Lord_Howe", 90, 120)]}
	held("2026-04-04T14:30:00Z", half_past_one) == set()
	held("2026-04-04T15:15:00Z", half_past_one) == set()
	held("2026-04-04T15:30:00Z", half_past_one) == {"change_window"}
}

test_a_holiday_closes if {
	closed := object.union(window("UTC", 1320, 240), {"closed_on": [{"zone": "UTC", "dates": {"20261225": true}, "dates_after": {"20261226": true}}]})
	held("2026-12-24T23:00:00Z", {"windows": [closed]}) == set()
	held("2026-12-25T01:00:00Z", {"windows": [closed]}) == {"change_window"}
	held("2026-12-25T23:00:00Z", {"windows": [closed]}) == {"change_window"}
	held("2026-12-26T01:00:00Z", {"windows": [closed]}) == {"change_window"}
	held("2026-12-26T23:00:00Z", {"windows": [closed]}) == set()
}

# As in a zone that an OPA server lacks; the embedded engine denies that by itself.
test_a_calendar_by_which_no_date_can_be_told_closes if {
	blind := object.union(window("UTC", 1320, 240), {"closed_on": [{"dates": {}, "dates_after": {}}]})
	held("2026-12-24T23:00:00Z", {"windows": [blind]}) == {"change_window"}
}

test_a_freeze_period_has_two_ends if {
	held("2026-12-18T16:59:59Z", {"freezes": [freeze]}) == set()
	held("2026-12-18T17:00:00Z", {"freezes": [freeze]}) == {"freeze_period"}
	held("2027-01-04T04:59:59Z", {"freezes": [freeze]}) == {"freeze_period"}
	held("2027-01-04T05:00:00Z", {"freezes": [freeze]}) == set()
}

test_an_exception_that_has_expired_is_none if {
	both := {"freezes": [freeze], "exceptions": [exception]}
	held("2026-12-24T11:59:59Z", both) == set()
	held("2026-12-24T12:00:00Z", both) == {"freeze_period"}
}

test_an_exception_is_for_its_rules_and_subjects if {
	now := "2026-12-24T11:00:00Z"
	held(now, {"freezes": [freeze], "exceptions": [object.union(exception, {"subjects": [{"issuer": {"i": true}, "subject": {"a2": true}}]})]}) == {"freeze_period"}
	held(now, {"windows": [window("UTC", 0, 1)], "exceptions": [exception]}) == {"change_window"}
}

used(now, data_) := d.exceptions if {
	nothing := {"windows": [], "freezes": [], "exceptions": []}
	d := lockgate.apply.decision with input as base.ask("apply", {"plan": base.plan, "context": {"now": now, "freeze": false}})
		with data.lockgate.parameters as object.union(base.parameters, object.union(nothing, data_))
}

test_a_decision_names_the_exception_it_made_use_of_and_no_other if {
	both := {"freezes": [freeze], "exceptions": [exception, object.union(exception, {"name": "old", "until": "2026-12-20T00:00:00"})]}
	used("2026-12-24T11:59:59Z", both) == {{"rule": "freeze_period", "name": "CHG-7", "until": "2026-12-24T12:00:00Z"}}
	used("2026-12-24T12:00:00Z", both) == set()
	used("2026-12-01T12:00:00Z", both) == set() # nothing was frozen
	closed := {"windows": [window("UTC", 0, 1)], "exceptions": [object.union(exception, {"rules": {"change_window": true}})]}
	used("2026-12-24T11:00:00Z", closed) == {{"rule": "change_window", "name": "CHG-7", "until": "2026-12-24T12:00:00Z"}}
	used("2026-12-24T00:00:30Z", closed) == set()
}
