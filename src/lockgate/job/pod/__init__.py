"""The first process of a pod: it lets nothing in before it has looked around, places what the runner sends, starts the job and tells its end."""
