"""What the escape checks try: one program, run inside a sandbox and, as the control, outside of any; it must not change the host.

Each probe is a function that returns when it could do what it tries, and raises OSError when it was refused. Probes run in a child of their
own, so that none sees what another did to itself. Raw system calls with harmless arguments tell a filter from a kernel: outside, the kernel
complains about the arguments, or about missing rights; inside, nothing may get that far.
"""

from __future__ import annotations

from typing import Final

PROBES: Final = r'''
import ctypes, errno, json, os, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
given = {}
probes = {}
def probe(function):
    probes[function.__name__] = function
    return function
def raw(number, *arguments):
    ctypes.set_errno(0)
    answer = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(one) if isinstance(one, int) else one for one in arguments])
    if answer < 0:
        raise OSError(ctypes.get_errno(), "system call")
    return answer
def call(name, *arguments):
    return raw(given["numbers"][name], *arguments)
def c(function, *arguments):
    ctypes.set_errno(0)
    answer = getattr(libc, function)(*arguments)
    if answer < 0:
        raise OSError(ctypes.get_errno(), function)
    return answer
def tried(function):
    """The name of the error, "" when it worked; in a child, with an end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            function()
            said = ""
        except OSError as error:
            said = errno.errorcode.get(error.errno or 0, "OSError")
        except Exception as error:
            said = type(error).__name__
        os.write(writing, b"=" + said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        said = told.read().decode()
    os.waitpid(pid, 0)
    return said[1:] if said.startswith("=") else "ended"
def run_probes(inputs):
    given.update(inputs)
    found = {name: tried(function) for name, function in probes.items()}
    for name, arguments in inputs["raw"].items():
        found[name] = tried(lambda: call(name, *arguments))
    for path in inputs["paths"]:
        found[path] = tried(lambda: os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK)))
    return found

NEW = {"user": 0x10000000, "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "pid": 0x20000000, "net": 0x40000000, "time": 0x80}
@probe
def unshares_a_user_namespace(): call("unshare", NEW["user"])
@probe
def unshares_every_namespace(): call("unshare", NEW["user"] | NEW["mount"] | NEW["net"] | NEW["ipc"] | NEW["uts"])
@probe
def clones_into_a_user_namespace():
    if call("clone", NEW["user"] | signal.SIGCHLD, 0, 0, 0, 0) == 0: os._exit(0)
@probe
def clones_by_clone3():
    if call("clone3", struct.pack("8Q", NEW["user"], 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64) == 0: os._exit(0)
@probe
def enters_its_own_network_namespace_again(): call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)
@probe
def joins_a_session_keyring(): call("keyctl", 1, 0)
@probe
def adds_a_key(): call("add_key", b"user", b"lockgate-probe", b"x", 1, -2)
@probe
def names_its_session_keyring(): call("keyctl", 0, -3, 1)
def sleeper():
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid
@probe
def traces_its_child():
    pid = sleeper()
    try: call("ptrace", 16, pid, 0, 0)
    finally: os.kill(pid, signal.SIGKILL)
@probe
def reads_its_childs_memory():
    pid = sleeper()
    text = ctypes.create_string_buffer(8)
    vector = struct.pack("2Q", ctypes.addressof(text), 8)
    try: call("process_vm_readv", pid, vector, 1, vector, 1, 0)
    finally: os.kill(pid, signal.SIGKILL)
@probe
def takes_a_descriptor_of_its_child():
    pid = sleeper()
    try: call("pidfd_getfd", os.pidfd_open(pid), 0, 0)
    finally: os.kill(pid, signal.SIGKILL)
@probe
def turns_off_address_randomisation(): call("personality", 0x0040000)
@probe
def makes_an_io_ring(): call("io_uring_setup", 1, b"\0" * 120)
def terminal():
    master, slave = os.openpty()
    return slave
@probe
def types_into_a_terminal():
    import fcntl, termios
    os.setsid()
    slave = terminal()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    fcntl.ioctl(slave, termios.TIOCSTI, b"x")
@probe
def changes_a_line_discipline():
    import fcntl
    fcntl.ioctl(terminal(), 0x5423, struct.pack("i", 0))
@probe
def asks_for_linux_console():
    import fcntl
    fcntl.ioctl(terminal(), 0x541C, b"\6")
def scratch(name):
    path = os.path.join(given["scratch"], name + "-" + str(os.getpid()))
    return path
def made(path):
    with open(path, "x"): pass
    return path
def keeps(path, bits):
    if not os.stat(path).st_mode & bits: raise PermissionError(errno.EPERM, "dropped")
@probe
def makes_a_file_setuid():
    path = made(scratch("a")); os.chmod(path, 0o4755); keeps(path, 0o4000)
@probe
def makes_a_file_setgid():
    path = made(scratch("b")); os.chmod(path, 0o2755); keeps(path, 0o2000)
@probe
def makes_a_file_setuid_by_its_descriptor():
    path = scratch("c"); file = os.open(path, os.O_CREAT | os.O_WRONLY, 0o755); os.fchmod(file, 0o4755); keeps(path, 0o4000)
@probe
def creates_a_setuid_file():
    path = scratch("d"); os.umask(0); os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o4755)); keeps(path, 0o4000)
@probe
def makes_a_setuid_node():
    path = scratch("e"); os.umask(0); os.mknod(path, 0o104755); keeps(path, 0o4000)
@probe
def creates_a_setuid_file_by_openat2():
    path = scratch("f").encode(); os.umask(0)
    how = struct.pack("3Q", os.O_CREAT | os.O_WRONLY, 0o4755, 0)
    call("openat2", -100, path, how, len(how)); keeps(path, 0o4000)
@probe
def changes_a_mode_by_fchmodat2():
    path = made(scratch("g")).encode(); call("fchmodat2", -100, path, 0o4755, 0); keeps(path, 0o4000)
@probe
def gives_a_file_capabilities(): os.setxattr(made(scratch("h")), "security.capability", struct.pack("<5I", 0x2000001, 1, 0, 0, 0))
@probe
def gives_a_file_away(): os.chown(made(scratch("i")), 0, 0)
@probe
def makes_a_block_device(): os.mknod(scratch("j"), 0o60600, os.makedev(8, 0))
@probe
def makes_a_memory_device(): os.mknod(scratch("k"), 0o20600, os.makedev(1, 1))
@probe
def reaches_the_hosts_abstract_socket(): socket.socket(socket.AF_UNIX).connect("\0" + given["abstract"])
@probe
def finds_the_hosts_shared_memory(): c("shmget", given["shared_key"], 0, 0)
@probe
def finds_the_hosts_semaphores(): c("semget", given["shared_key"], 0, 0)
@probe
def finds_the_hosts_message_queue(): c("msgget", given["shared_key"], 0)
@probe
def opens_the_hosts_shared_file(): os.close(os.open(given["shared_file"], os.O_RDONLY))
@probe
def signals_an_outside_process(): os.kill(given["outside"], 0)
@probe
def signals_an_outside_group(): os.killpg(given["outside"], 0)
@probe
def opens_an_outside_process(): os.close(os.pidfd_open(given["outside"]))
@probe
def has_its_input_signal_an_outsider():
    import fcntl
    one, other = socket.socketpair()
    fcntl.fcntl(one, 8, given["outside"])
@probe
def has_a_session_that_is_not_its_own():
    if os.getsid(given["job"]) > 0 and os.getpgid(given["job"]) > 0: raise PermissionError(errno.EPERM, "its own")
@probe
def raises_its_core_limit():
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096))
    if resource.getrlimit(resource.RLIMIT_CORE)[0] < 4096: raise PermissionError(errno.EPERM, "stays")
@probe
def opens_more_files_than_given():
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
@probe
def is_scheduled_in_real_time(): os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
@probe
def goes_before_others(): os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 5)
@probe
def is_spared_when_memory_ends():
    with open("/proc/self/oom_score_adj", "w") as file: file.write("-900")
'''

RAW: Final[dict[str, list[int]]] = {
    "mount": [0, 0, 0, 0, 0], "umount2": [0, 0], "pivot_root": [0, 0], "chroot": [0], "open_tree": [-1, 0, 0],
    "move_mount": [-1, 0, -1, 0, 0], "fsopen": [0, 0], "fsmount": [-1, 0, 0], "fspick": [-1, 0, 0], "mount_setattr": [-1, 0, 0, 0, 0],
    "statmount": [0, 0, 0, 0], "listmount": [0, 0, 0, 0],
    "bpf": [0, 0, 0], "perf_event_open": [0, 0, -1, -1, 0], "userfaultfd": [0x7FFFFFF], "io_uring_enter": [-1, 0, 0, 0, 0, 0],
    "name_to_handle_at": [-1, 0, 0, 0, 0], "open_by_handle_at": [-1, 0, 0], "quotactl": [0, 0, 0, 0], "quotactl_fd": [-1, 0, 0, 0],
    "kcmp": [0, 0, 99, 0, 0], "process_madvise": [-1, 0, 0, 0, 1], "init_module": [0, 0, 0], "finit_module": [-1, 0, 0],
    "delete_module": [0, 0], "kexec_load": [0, 0, 0, 0],
    "kexec_file_load": [-1, -1, 0, 0, 0xFF], "reboot": [0, 0, 0, 0], "swapon": [0, 0], "swapoff": [0],
    "settimeofday": [1, 0], "clock_settime": [0, 0], "clock_adjtime": [0, 0], "adjtimex": [0], "sethostname": [0, -1],
    "setdomainname": [0, -1], "syslog": [10, 0, 0], "fanotify_init": [0xFFFF, 0], "memfd_secret": [0xFF], "request_key": [0, 0, 0, 0],
    "move_pages": [0, 1, 0, 0, 0, 0xFF], "migrate_pages": [0, 0, 0, 0], "set_mempolicy": [99, 0, 0], "acct": [1],
}  # fmt: skip
"""System calls by name, with arguments that do nothing where the call is allowed."""

TOLD_APART: Final = (
    "open_tree", "io_uring_enter", "name_to_handle_at", "userfaultfd", "kcmp", "process_madvise", "memfd_secret", "request_key",
    "set_mempolicy", "move_pages",
)  # fmt: skip
"""Those of RAW at which every kernel that allows them looks at an ordinary user's arguments: the control must get another answer than EPERM."""

PATHS: Final = (
    "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/kernel/sysrq", "/proc/sys/vm/drop_caches",
    "/proc/sys/fs/binfmt_misc/register", "/proc/sys/user/max_user_namespaces", "/proc/sysrq-trigger", "/proc/kcore", "/proc/kmsg", "/proc/1/setgroups", "/proc/1/root/etc/passwd", "/proc/bus/pci/devices",
    "/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/fuse", "/dev/kvm", "/dev/net/tun", "/dev/loop-control", "/dev/vhost-net",
    "/dev/uinput", "/dev/snapshot", "/dev/sda", "/dev/vda", "/dev/nvme0", "/dev/vsock", "/dev/tty", "/dev/tty0", "/dev/console",
    "/sys/kernel/uevent_helper", "/sys/kernel/debug", "/sys/power/state", "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/devices/devices.allow",
)  # fmt: skip
"""Opened for writing, and never written to."""

ANYONE_OUTSIDE: Final = (
    "unshares_a_user_namespace", "clones_into_a_user_namespace", "clones_by_clone3", "joins_a_session_keyring", "adds_a_key",
    "names_its_session_keyring", "traces_its_child", "reads_its_childs_memory", "turns_off_address_randomisation",
    "makes_a_file_setuid", "makes_a_file_setgid", "makes_a_file_setuid_by_its_descriptor", "creates_a_setuid_file",
    "makes_a_setuid_node", "creates_a_setuid_file_by_openat2", "changes_a_line_discipline", "reaches_the_hosts_abstract_socket",
    "finds_the_hosts_shared_memory", "finds_the_hosts_semaphores", "finds_the_hosts_message_queue", "opens_the_hosts_shared_file",
    "signals_an_outside_process", "signals_an_outside_group", "opens_an_outside_process", "has_its_input_signal_an_outsider",
)  # fmt: skip
"""Probes that must succeed outside, whoever runs the suite: a control that could not do it would prove nothing."""
