"""The runner's side of a job channel over a network: one pinned certificate, one ticket, one connection a stage; it parses no job's bytes itself."""
