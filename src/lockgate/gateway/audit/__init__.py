"""The audit log: one RFC 6962 tree, written in the transaction of what it records; it must not be able to change or drop an entry."""
