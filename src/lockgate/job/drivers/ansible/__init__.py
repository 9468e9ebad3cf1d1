"""The ansible driver: check mode as the plan, arguments as unsafe data; it must never let an argument become a template or an option."""
