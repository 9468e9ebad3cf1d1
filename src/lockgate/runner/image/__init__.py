"""The container image of the job, made of this installation and this machine's system libraries; it must not need a registry or a builder."""
