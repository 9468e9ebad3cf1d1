"""The gateway zone: records, decides by asking policy, approves, queues and audits; it must never run a tool."""
