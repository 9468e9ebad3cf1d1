"""Makes what a deployment on one machine needs: keys, keyset, certificates, settings; it must not start anything or overwrite a file."""

from lockgate.cli.bootstrap.layout import Layout, Names, Ports, Samples
from lockgate.cli.bootstrap.making import BootstrapRefused, bootstrap, sandbox_base

__all__ = ["BootstrapRefused", "Layout", "Names", "Ports", "Samples", "bootstrap", "sandbox_base"]
