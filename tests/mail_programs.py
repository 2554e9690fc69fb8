"""Start the programs of a mail server, each with configs/mail's own files, on ports and in folders of a test."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

RECIPES = Path(__file__).parents[1] / "configs" / "mail"
OURS = "127.0.0.1:783"  # where the recipes say that spamctl is
PATIENCE_S = 30
USER = "nobody"
EXIM_USER = "Debian-exim"  # it has no right to become another one with a configuration of ours
PLACES = "/usr/sbin:/usr/bin:/usr/local/bin"
PACKAGES = {
    "spamc": "spamc",
    "exim4": "exim4-daemon-heavy",
    "rspamd": "rspamd",
    "dovecot": "dovecot-imapd dovecot-sieve",
    "sievec": "dovecot-imapd dovecot-sieve",
    "spamass-milter": "spamass-milter",
    "miltertest": "miltertest",
}


def program(name):
    """Return the path of a program, or skip the test with the cure."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:{PLACES}")
    if found is None:
        pytest.skip(f"no {name} on PATH: apt-get install -y --no-install-recommends {PACKAGES[name]}")
    return found


def need_root():
    """Skip the test where mail servers cannot change to the user whose mail they deliver."""
    if os.geteuid():
        pytest.skip("a mail server changes users: run this test as root, such as in a container")


@contextlib.contextmanager
def a_folder():
    """Lend a folder that other users may enter, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="spamctl-mail-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        if not os.geteuid():
            shutil.chown(folder, USER)
        yield folder


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def recipe(name, folder, changes):
    """Write a recipe into a folder with other ports and paths, each of which must be in it, and return its path."""
    text = (RECIPES / name).read_text(encoding="utf-8")
    for ours, theirs in changes.items():
        assert ours in text, f"{name} has no {ours}"
        text = text.replace(ours, theirs)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod((RECIPES / name).stat().st_mode)
    return path


def until(true, what):
    """Wait until something is true, and return it; `what` says it if it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < deadline, f"waited in vain: {what()}"
        time.sleep(0.05)
    return found


def answers(port):
    """Return whether somebody listens at a port."""
    with socket.socket() as one:
        one.settimeout(1)
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(words, is_up, log):
    """Run a program in the foreground until the block ends, once it is up; it and all that it started are ended."""
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)
    try:
        until(lambda: is_up() or process.poll() is not None, lambda: words[0])
        assert process.poll() is None, log.read_text(encoding="utf-8", errors="replace")[-3000:]
        yield process
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@dataclass(frozen=True)
class Exim:
    """Hold a running Exim: its port, and the folder where it delivers."""

    port: int
    folder: Path

    def delivered(self, count=1):
        """Return the mails that were delivered, once there are so many."""
        new = self.folder / "Maildir" / "new"
        until(lambda: new.is_dir() and len(list(new.iterdir())) >= count, self.log)
        return [path.read_bytes() for path in sorted(new.iterdir(), key=lambda path: path.stat().st_mtime_ns)]

    def log(self):
        return "".join(path.read_text(encoding="utf-8") for path in (self.folder / "log").glob("*"))


@contextlib.contextmanager
def exim(folder, spamd_port, patience="10s"):
    """Run an Exim that asks spamctl and delivers everything into one Maildir."""
    binary, port = program("exim4"), free_port()
    told = subprocess.run([binary, "-bV"], capture_output=True, text=True, check=True).stdout
    if "Content_Scanning" not in told:
        pytest.skip(f"this Exim asks no scanner: apt-get install -y --no-install-recommends {PACKAGES['exim4']}")
    need_root()
    main = recipe("exim-main.conf", folder, {"127.0.0.1 783 tmo=10s": f"127.0.0.1 {spamd_port} tmo={patience}"})
    acl = recipe("exim-data-acl.conf", folder, {})
    shutil.chown(folder, EXIM_USER, EXIM_USER)
    for name in ("spool", "log"):
        (folder / name).mkdir()
        shutil.chown(folder / name, EXIM_USER, EXIM_USER)
    config = folder / "exim.conf"
    config.write_text(
        f"""
primary_hostname = mail.example
spool_directory = {folder}/spool
log_file_path = {folder}/log/%s
pid_file_path = {folder}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
tls_advertise_hosts =
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
deliver_drop_privilege = true
.include {main}
acl_smtp_rcpt = accept_all
acl_smtp_data = check_data

begin acl
accept_all:
  accept
check_data:
.include {acl}
  accept

begin routers
everyone:
  driver = accept
  transport = maildir

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {folder}/Maildir
  create_directory
  user = {EXIM_USER}
  group = {EXIM_USER}
""",
        encoding="utf-8",
    )
    with running([binary, "-C", str(config), "-bdf", "-q1h"], lambda: answers(port), folder / "exim.out"):
        yield Exim(port, folder)


@contextlib.contextmanager
def rspamd(folder, spamd_port):
    """Run an rspamd whose only rule asks spamctl, and lend its port for HTTP."""
    binary, port = program("rspamd"), free_port()
    services = recipe("rspamd-external_services.conf", folder, {OURS: f"127.0.0.1:{spamd_port}"})
    group = recipe("rspamd-group.conf", folder, {})
    domains = folder / "domains.dat"
    domains.write_text("com\nexample\n", encoding="utf-8")  # to read the list of all takes half a minute
    config = folder / "rspamd.conf"
    config.write_text(
        f"""
options {{
  pidfile = "{folder}/rspamd.pid"; rundir = "{folder}"; tempdir = "{folder}"; hs_cache_dir = "{folder}";
  url_tld = "{domains}"; filters = "";
  dns {{ nameserver = ["127.0.0.1:{free_port()}"]; timeout = 0.1s; retransmits = 1; }}
}}
logging {{ type = "console"; level = "info"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
modules {{ path = "/usr/share/rspamd/plugins/external_services.lua"; }}
lua = "/usr/share/rspamd/rules/rspamd.lua";
actions {{ reject = 15; add_header = 6; }}
external_services {{ .include "{services}" }}
group "external_services" {{ .include "{group}" }}
""",
        encoding="utf-8",
    )
    user = [] if os.geteuid() else ["-u", USER, "-g", "nogroup"]
    with running([binary, "-f", "-c", str(config), *user], lambda: answers(port), folder / "rspamd.log"):
        yield port


@contextlib.contextmanager
def dovecot(folder, spamd_port):
    """Run a Dovecot that teaches spamctl, with a mailbox for every name and any password; lend its port for IMAP."""
    binary, port = program("dovecot"), free_port()
    program("spamc")
    need_root()
    place = folder / "spamctl"
    place.mkdir()
    teach = recipe("dovecot-teach.conf", folder, {"/etc/dovecot/spamctl": str(place)})
    recipe("teach.sh", place, {"--port=783": f"--port={spamd_port}"})
    config = folder / "dovecot.conf"
    config.write_text(
        f"""
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%u
passdb {{
  driver = static
  args = nopassword=y
}}
userdb {{
  driver = static
  args = uid={USER} gid=nogroup home={folder}/mail/%u
}}
namespace inbox {{
  inbox = yes
  mailbox Junk {{
    auto = create
  }}
  mailbox Trash {{
    auto = create
  }}
}}
service imap-login {{
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
!include {teach}
""",
        encoding="utf-8",
    )
    (folder / "mail").mkdir()
    shutil.chown(folder / "mail", USER)
    for name in ("teach-spam.sieve", "teach-ham.sieve"):
        script = recipe(name, place, {})
        subprocess.run([program("sievec"), "-c", str(config), str(script)], check=True, capture_output=True)
    with running([binary, "-F", "-c", str(config)], lambda: answers(port), folder / "dovecot.out"):
        yield port


@contextlib.contextmanager
def milter(folder, spamd_port):
    """Run a spamass-milter that asks spamctl, and lend its socket."""
    binary, place = program("spamass-milter"), folder / "milter.sock"
    program("spamc")
    defaults = recipe("spamass-milter", folder, {"--port=783": f"--port={spamd_port}"})
    told = subprocess.run(
        ["sh", "-c", f'. {defaults}; printf %s "$OPTIONS"'], capture_output=True, text=True, check=True
    )
    words = [binary, "-p", str(place), *told.stdout.split()]
    with running(words, place.exists, folder / "milter.log"):
        yield place


def said_by_milter(folder, place, raw):
    """Send a mail to a milter as a mail server does; return the headers that it adds, and its last reply."""
    head, _, body = raw.decode().partition("\r\n\r\n")
    headers = [line.split(": ", 1) for line in head.split("\r\n")]
    script = folder / "send.lua"
    lines = [
        f'conn = mt.connect("unix:{place}", 50, 0.1)',
        'mt.conninfo(conn, "shop.example", "192.0.2.1")',
        'mt.helo(conn, "shop.example")',
        'mt.macro(conn, SMFIC_MAIL, "i", "test-id")',
        'mt.mailfrom(conn, "<ann@shop.example>")',
        'mt.rcptto(conn, "<jo@home.example>")',
        *(f"mt.header(conn, {json.dumps(name)}, {json.dumps(value)})" for name, value in headers),
        "mt.eoh(conn)",
        f"mt.bodystring(conn, {json.dumps(body)})",
        "mt.eom(conn)",
        'for _, name in ipairs({"X-Spam-Flag", "X-Spam-Status"}) do',
        '  mt.echo(name .. ": " .. tostring(mt.getheader(conn, name, 0)))',
        "end",
        'mt.echo("body changed: " .. tostring(mt.eom_check(conn, MT_BODYCHANGE)))',
        'mt.echo("reply: " .. string.char(mt.getreply(conn)))',
    ]
    script.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = subprocess.run(
        [program("miltertest"), "-s", str(script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(line.split(": ", 1) for line in done.stdout.splitlines() if line)
