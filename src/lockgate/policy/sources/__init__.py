"""Where policy comes from: one module a source. They bring files, and judge neither signature nor content."""
