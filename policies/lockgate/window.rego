# METADATA
# title: Freezes and change windows
# description: When changes may be made. Reads are exempt; all may be waited for.
package lockgate.window

import data.lockgate.parameters
import data.lockgate.selectors

# METADATA
# title: Changes are frozen
# description: An administrator has frozen changes.
# custom:
#   rule: freeze
#   severity: high
#   why: In an incident, or while something delicate is under way, people must be able to stop every change at once.
#   fix: Wait until the freeze is lifted; the operation continues by itself.
violations contains {"rule": "freeze", "details": {"waitable": true}} if {
	input.action.effect != "read"
	input.context.freeze != false
}

# METADATA
# title: Freeze period
# description: In this period nothing is applied to this target.
# custom:
#   rule: freeze_period
#   severity: high
#   why: There are days on which nobody is there to mend what breaks, or on which it costs most.
#   fix: Wait until the period ends; the operation continues by itself.
violations contains {"rule": "freeze_period", "details": {"waitable": true, "name": freeze.name, "until": utc(freeze.until)}} if {
	times_count
	some freeze in frozen
	not excepted("freeze_period")
}

# METADATA
# title: Change window closed
# description: This target is changed only inside its change windows, and none is open now.
# custom:
#   rule: change_window
#   severity: medium
#   why: Changes are made when those who can mend them are awake and users are not harmed most.
#   fix: Wait for the next window; the operation continues by itself.
violations contains {"rule": "change_window", "details": {"waitable": true, "windows": [w.name | some w in windows]}} if {
	times_count
	is_closed_now
	not excepted("change_window")
}

times_count if {
	input.question in {"apply", "heal"}
	input.action.effect != "read"
}

frozen := [freeze |
	some freeze in parameters.freezes
	freeze.from <= second
	second < freeze.until
	selectors.selects(freeze.targets, input.target)
]

is_closed_now if {
	count(windows) > 0
	not any_open
}

windows := [window |
	some window in parameters.windows
	selectors.selects(window.targets, input.target)
]

now := time.parse_rfc3339_ns(input.context.now)

# UTC, to the second, as moments of the data are.
second := substring(input.context.now, 0, 19)

utc(moment) := concat("", [moment, "Z"])

any_open if {
	some window in windows
	is_open(window)
}

# What the clock on the wall says counts: in an hour that a zone skips no window opens, one that it has twice counts twice.
is_open(window) if {
	window.from < window.to
	opens_today(window)
	minute := minute_of_day(window.zone)
	window.from <= minute
	minute < window.to
}

# A window over midnight belongs to the day on which it opens.
is_open(window) if {
	window.from > window.to
	opens_today(window)
	window.from <= minute_of_day(window.zone)
}

is_open(window) if {
	window.from > window.to
	window.days_after[time.weekday([now, window.zone])]
	minute_of_day(window.zone) < window.to
	not is_closed(window, "dates")
	not is_closed(window, "dates_after")
}

opens_today(window) if {
	window.days[time.weekday([now, window.zone])]
	not is_closed(window, "dates")
}

is_closed(window, which) if {
	some calendar in window.closed_on
	not is_working_day(calendar, which)
}

# A zone that the engine does not have leaves the date undefined: then nobody knows that it is no holiday.
is_working_day(calendar, which) if {
	date := date_in(calendar.zone)
	not calendar[which][date]
}

date_in(zone) := format_int(((day[0] * 10000) + (day[1] * 100)) + day[2], 10) if day := time.date([now, zone])

minute_of_day(zone) := minute if {
	clock := time.clock([now, zone])
	minute := (clock[0] * 60) + clock[1]
}

excepted(rule) if count(excepting(rule)) > 0

# An exception holds until its moment, for the rules it names, and for what all of its parts say.
excepting(rule) := {exception |
	some exception in parameters.exceptions
	exception.rules[rule]
	second < exception.until
	selectors.is_among(exception.subjects, input.subject)
	selectors.names_action(exception.actions, input.action)
	selectors.selects(exception.targets, input.target)
}

# What would have been held up but for an exception: it stands in the decision.
exceptions contains {"rule": rule, "name": exception.name, "until": utc(exception.until)} if {
	times_count
	some rule in would_hold
	some exception in excepting(rule)
}

would_hold contains "freeze_period" if count(frozen) > 0

would_hold contains "change_window" if is_closed_now
