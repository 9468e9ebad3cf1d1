# METADATA
# title: The past
# description: How far back the caller's history reaches, and what of it counts still. What is not told is not known.
package lockgate.past

now := time.parse_rfc3339_ns(input.context.now)

# Whether everything that the caller did in the last `seconds` is told. The time is told to the second: one is given away.
reaches(seconds) if {
	is_array(input.context.history.operations)
	since := time.parse_rfc3339_ns(input.context.history.since)
	now - since >= (seconds - 1) * 1000000000
}

is_within(at, seconds) if now - time.parse_rfc3339_ns(at) <= seconds * 1000000000
