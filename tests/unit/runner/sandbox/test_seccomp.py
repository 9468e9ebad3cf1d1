"""The filters, run on a small interpreter of classic BPF for both architectures."""

import errno
import struct

import pytest

from lockgate.runner.sandbox.seccomp import UnsupportedArchitecture, job_filter, proxy_filter, warden_filter
from lockgate.runner.sandbox.syscalls import AUDIT_ARCH, EXECUTION, NEWEST, SANDBOX, WARDEN

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
EPERM, ENOSYS, EAFNOSUPPORT = (ERRNO | code for code in (errno.EPERM, errno.ENOSYS, errno.EAFNOSUPPORT))


def verdict(program: bytes, number: int, arguments=(), arch=AUDIT_ARCH["x86_64"]) -> int:
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    code = [struct.unpack_from("=HBBI", program, at) for at in range(0, len(program), 8)]
    at = accumulator = 0
    while True:
        kind, yes, no, operand = code[at]
        at += 1
        if kind == 0x20:
            accumulator = struct.unpack_from("=I", data, operand)[0]
        elif kind == 0x06:
            return operand
        else:
            if kind == 0x54:
                accumulator &= operand
                continue
            met = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}[kind]
            at += yes if met else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
class TestJobFilter:
    def test_foreign_architectures_are_killed(self, machine):
        other = AUDIT_ARCH["aarch64" if machine == "x86_64" else "x86_64"]
        for arch in (other, 0x40000003, 0):
            assert verdict(job_filter(machine), 0, arch=arch) == KILL

    def test_every_listed_call_is_denied_and_ordinary_ones_pass(self, machine):
        program, arch, calls = job_filter(machine), AUDIT_ARCH[machine], SANDBOX[machine]
        conditional = {
            "clone",
            "clone3",
            "openat2",
            "socket",
            "socketpair",
            "ioctl",
            "personality",
            "setrlimit",
            "prlimit64",
        }
        conditional |= {"chmod", "fchmod", "fchmodat", "fchmodat2", "creat", "mknod", "mknodat", "open", "openat"}
        for name in set(calls) - conditional:
            assert verdict(program, calls[name], arch=arch) == EPERM, name
        for name, number in WARDEN[machine].items():
            assert verdict(program, number, arch=arch) == ALLOW, name

    def test_namespaces_families_and_terminals_are_looked_at(self, machine):
        program, arch, calls = job_filter(machine), AUDIT_ARCH[machine], SANDBOX[machine]

        def said(name, *arguments):
            return verdict(program, calls[name], arguments, arch)

        assert said("clone3") == ENOSYS
        assert said("clone", 17) == said("clone", 0x3D0F00) == ALLOW
        for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
            assert said("clone", flag | 17) == EPERM
        assert said("socket", 1) == said("socketpair", 1) == ALLOW
        for family in (0, 2, 10, 16, 17, 38, 40):
            assert said("socket", family) == said("socketpair", family) == EAFNOSUPPORT
        assert said("ioctl", 0, 0x5412) == said("ioctl", 0, 0x541C) == EPERM
        assert said("ioctl", 0, 0x5412 | 1 << 32) == EPERM  # the kernel drops the high half too
        assert said("ioctl", 0, 0x5401) == ALLOW
        assert said("personality", 0) == said("personality", 0xFFFFFFFF) == ALLOW
        assert said("personality", 0x40000) == EPERM
        assert said("ioctl", 0, 0x5423) == EPERM

    def test_no_file_becomes_setuid_or_setgid(self, machine):
        program, arch, calls = job_filter(machine), AUDIT_ARCH[machine], SANDBOX[machine]
        modes = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mknod": 1, "mknodat": 2}
        modes |= {"open": 2, "openat": 3}
        for name in set(modes) & set(calls):
            arguments = [0, 0, 0, 0]
            if name in ("open", "openat"):
                arguments[modes[name] - 1] = 0o100 | 0o1  # O_CREAT | O_WRONLY
            for bits, expected in ((0o755, ALLOW), (0o1777, ALLOW), (0o4755, EPERM), (0o2755, EPERM), (0o6000, EPERM)):
                arguments[modes[name]] = bits
                assert verdict(program, calls[name], arguments, arch) == expected, (name, oct(bits))
        # without a creating flag the mode is whatever the register held
        assert verdict(program, calls["openat"], (0, 0, 0, 0o4755), arch) == ALLOW
        assert verdict(program, calls["openat"], (0, 0, 0o20200000, 0o4755), arch) == EPERM  # O_TMPFILE
        assert verdict(program, calls["openat2"], arch=arch) == ENOSYS

    def test_the_limit_of_cores_can_be_read_and_seems_to_be_set(self, machine):
        program, arch, calls = job_filter(machine), AUDIT_ARCH[machine], SANDBOX[machine]
        for resource, address, expected in ((4, 0, ALLOW), (4, 0x7000, ERRNO), (4, 1 << 32, ERRNO), (7, 0x7000, ALLOW)):
            assert verdict(program, calls["prlimit64"], (0, resource, address, 0x7000), arch) == expected
        assert verdict(program, calls["setrlimit"], (4, 0x7000), arch) == ERRNO
        assert verdict(program, calls["setrlimit"], (7, 0x7000), arch) == ALLOW

    def test_calls_of_later_kernels_are_not_there(self, machine):
        program, arch = job_filter(machine), AUDIT_ARCH[machine]
        for number in (NEWEST + 1, NEWEST + 100, 0x3FFFFFFF):
            assert verdict(program, number, arch=arch) == ENOSYS
        assert max(SANDBOX[machine].values()) <= NEWEST

    def test_loopback_means_tcp_over_ipv4_and_nothing_more(self, machine):
        program, arch, calls = job_filter(machine, loopback=True), AUDIT_ARCH[machine], SANDBOX[machine]
        for kind, protocol, expected in ((1, 0, ALLOW), (1, 6, ALLOW), (1 | 0o2000000 | 0o4000, 0, ALLOW), (1, 132, ERRNO | 93),
                                         (1, 262, ERRNO | 93), (2, 0, EAFNOSUPPORT), (3, 1, EAFNOSUPPORT), (5, 0, EAFNOSUPPORT)):  # fmt: skip
            assert verdict(program, calls["socket"], (2, kind, protocol), arch) == expected, (kind, protocol)
        assert verdict(program, calls["socket"], (1, 1, 0), arch) == ALLOW
        for family in (10, 16, 17, 38, 40):
            assert verdict(program, calls["socket"], (family, 1, 0), arch) == EAFNOSUPPORT
        assert verdict(program, calls["socketpair"], (2, 1, 0), arch) == EAFNOSUPPORT

    def test_a_proxy_connects_anywhere_and_starts_no_program(self, machine):
        program, arch, calls = proxy_filter(machine), AUDIT_ARCH[machine], SANDBOX[machine]
        for family, expected in (
            (1, ALLOW),
            (2, ALLOW),
            (10, ALLOW),
            (16, ALLOW),
            (17, EAFNOSUPPORT),
            (38, EAFNOSUPPORT),
        ):
            assert verdict(program, calls["socket"], (family, 2, 0), arch) == expected
        for number in EXECUTION[machine].values():
            assert verdict(program, number, arch=arch) == EPERM
        for name in ("ptrace", "mount", "unshare", "bpf", "process_vm_writev"):
            assert verdict(program, calls[name], arch=arch) == EPERM


def test_the_x32_abi_is_killed():
    for program in (job_filter("x86_64"), warden_filter("x86_64")):
        assert verdict(program, 0x40000000 | 59) == KILL
        assert verdict(program, -1) == KILL


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_a_warden_may_do_nothing_unlisted(machine):
    program, arch, listed = warden_filter(machine), AUDIT_ARCH[machine], WARDEN[machine]
    for number in range(460):
        expected = ALLOW if number in listed.values() else EPERM
        assert verdict(program, number, arch=arch) == expected, number
    for name in ("mmap", "mprotect"):
        assert verdict(program, listed[name], (0, 4096, 5), arch) == EPERM


def test_a_machine_without_a_table_runs_nothing():
    with pytest.raises(UnsupportedArchitecture, match="riscv64"):
        job_filter("riscv64")
