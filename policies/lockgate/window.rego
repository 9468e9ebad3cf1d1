# METADATA
# title: Freezes and change windows
# description: When changes may be made. Reads are exempt; both may be waited for.
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
# title: Change window closed
# description: This target is changed only inside its change windows, and none is open now.
# custom:
#   rule: change_window
#   severity: medium
#   why: Changes are made when those who can mend them are awake and users are not harmed most.
#   fix: Wait for the next window; the operation continues by itself.
violations contains {"rule": "change_window", "details": {"waitable": true, "windows": [w.name | some w in windows]}} if {
	input.question == "apply"
	input.action.effect != "read"
	count(windows) > 0
	not any_open
}

windows := [window |
	some window in parameters.windows
	selectors.selects(window.targets, input.target)
]

now := time.parse_rfc3339_ns(input.context.now)

any_open if {
	some window in windows
	is_open(window)
}

is_open(window) if {
	window.from < window.to
	window.days[time.weekday([now, window.zone])]
	minute := minute_of_day(window.zone)
	window.from <= minute
	minute < window.to
}

# A window over midnight belongs to the day on which it opens.
is_open(window) if {
	window.from > window.to
	window.days[time.weekday([now, window.zone])]
	window.from <= minute_of_day(window.zone)
}

is_open(window) if {
	window.from > window.to
	window.days_after[time.weekday([now, window.zone])]
	minute_of_day(window.zone) < window.to
}

minute_of_day(zone) := minute if {
	clock := time.clock([now, zone])
	minute := (clock[0] * 60) + clock[1]
}
