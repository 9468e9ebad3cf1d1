"""The front doors: MCP, REST and the runner-facing API. They translate only and decide nothing."""
