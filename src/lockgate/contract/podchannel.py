"""What a pod's first process and its runner's porter say to each other over TLS: names, sizes, order; it must not import anything heavy.

The pod connects, holds the porter's certificate against the pinned digest, and shows 32 bytes, its ticket. From then on there are frames: four bytes of
length (unsigned, big-endian, of what follows), one byte of tag, the payload. In this order, each once but for content:

    pod     ARRIVAL   which pod this is, and what it could reach
    runner  ORDER     what to run
    runner  FILE, CONTENT..., DIGEST, for each file; TREE before the first file of a directory; HELD for one that the image has
    runner  START
    pod     PLACED    every file is where it belongs, and the job was started
    both    JOB...    the job's own channel, as a stream
    pod     REACHED   instead of anything else: it could reach something after all; its last word
    pod     HUNG_UP   the job has closed its end
    pod     FILE, CONTENT..., DIGEST, for each file that the order says comes back
    pod     ENDED     how the job ended, with the end of its output
    runner  BYE

At any time before ENDED the pod may say REFUSED, and that is its last word. An egress connection begins the same way, with another certificate's
worth of trust (the same) and a ticket of its own; then chunks: two bytes of length, that many bytes; none is the end of that direction.
"""

from __future__ import annotations

VERSION = 2
TICKET_BYTES = 32
HEADER_BYTES = 5
MAX_FRAME_BYTES = 64 * 1024
"""The most a frame's payload may hold; larger things are sent in pieces, so that neither side ever holds one whole."""

ARRIVAL = b"A"
ORDER = b"O"
TREE = b"T"
FILE = b"F"
CONTENT = b"C"
DIGEST = b"D"
HELD = b"L"
START = b"S"
PLACED = b"P"
JOB = b"J"
HUNG_UP = b"H"
ENDED = b"E"
REFUSED = b"R"
REACHED = b"U"
BYE = b"B"

MAX_FILES = 20_000
MAX_DELIVERED_BYTES = 2 << 30
MAX_RETURNED_BYTES = 64 << 20
"""What one stage may be sent, over all its files, and what may come back of it."""
TAIL_BYTES = 8 * 1024
MAX_CHECKS = 32
MAX_WHY = 500
MAX_HAD = 500
"""Files of an image that an arrival may tell of."""

ADDRESS_VARIABLE = "LOCKGATE_CHANNEL_ADDRESS"
"""`host:port` of the porter; IPv6 without brackets, the last colon counts."""
PIN_VARIABLE = "LOCKGATE_CHANNEL_PIN"
"""The SHA-256 of the porter's certificate (DER), as hex."""
EGRESS_ADDRESS_VARIABLE = "LOCKGATE_EGRESS_ADDRESS"
"""`host:port` for egress connections; not set where there is no way out."""
TICKET_VARIABLE = "LOCKGATE_TICKET_FILE"
"""The file that holds the ticket, 32 raw bytes."""
POD_VARIABLE = "LOCKGATE_POD_UID"
"""The pod's own uid, by the downward API."""
NODE_VARIABLE = "LOCKGATE_NODE_ADDRESS"
"""The node's own addresses, separated by commas, by the downward API; its kubelet is looked at by each."""
SERVICE_VARIABLES = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")
"""Where a cluster itself tells its pods that the API server is; looked at as well."""
UNREACHABLE_VARIABLE = "LOCKGATE_UNREACHABLE"
"""What must not be reached, as `name=host:port` separated by blanks; `api_server` is among them. A name may come more than once: each must pass."""
LOOK_VARIABLE = "LOCKGATE_LOOK_MS"
"""For how many milliseconds, counted from when the channel's port was seen open, an answer is waited for; what answers later ends the run."""
LOOK_WHOLE_VARIABLE = "LOCKGATE_LOOK_WHOLE"
"""`1`: the arrival waits for the look along the pod's own cable too."""

IMAGE_FILES = "/lockgate-image"
"""Where an image holds files that stages need not be sent, each under the SHA-256 of its content (hex)."""
TICKET_FILE = "/run/lockgate-ticket/ticket"
EGRESS_SOCKET = "/tmp/lockgate-egress.sock"  # noqa: S108 - the pod's own, by a name its job is told
KUBELET_PORT = 10250
KUBELET_READ_ONLY_PORT = 10255
METADATA = (
    "169.254.169.254:80",
    "fd00:ec2::254:80",
    "fd20:ce::254:80",
    "169.254.170.2:80",
    "169.254.170.23:80",
    "fd00:ec2::23:80",
    "168.63.129.16:80",
    "100.100.100.200:80",
)
"""Where clouds tell a machine who it is, and give it credentials: most of them by IPv4, EC2 and Google by IPv6, tasks of ECS, pods of EKS by both, Azure's
host, Alibaba."""
LOOK_MS = 150

CANARY = "canary"
API_SERVER = "api_server"
METADATA_CHECK = "metadata"
LINK_LOCAL = "link_local"
KUBELET = "kubelet"
KUBELET_READ_ONLY = "kubelet_read_only"
"""The port where some kubelets tell anybody of every pod; one that answers there asks nobody who he is."""
CHECKS = (CANARY, API_SERVER, METADATA_CHECK, LINK_LOCAL, KUBELET, KUBELET_READ_ONLY)
"""What every arrival must tell, each true: could not be reached, or refuses."""

_EGRESS_LABEL = b"lockgate pod egress ticket v1\x01"


def egress_ticket(ticket: bytes) -> bytes:
    """What egress connections show instead of the ticket: HKDF-Expand (RFC 5869) of it, one block of SHA-256."""
    import hmac

    return hmac.digest(ticket, _EGRESS_LABEL, "sha256")
