#!/usr/bin/env python3
"""Does what a newcomer does in the first hour: boots a fresh Debian under systemd-nspawn, and types the lines of README's "Run it" and
"A two-minute tour" into a terminal of root there, one by one, as they stand. Pebble stands in for Let's Encrypt, and a line in
/etc/hosts for the DNS. Checked are the service, the tour, https, two accounts, an invite, a verified backup, a Prometheus of Debian
that scrapes natter, a removal that keeps the data, and an install after it.

  scripts/package first-hour [--deb FILE] [--before PROGRAM] [--debian FOLDER] [--suite NAME] [--mirror URL]

--deb      the package; the one of target/package/out for this machine when it is not given
--before   natter of an older schema, which becomes a package of version 0.0.1: it is installed first and upgraded, and then README's "The
           way back" is typed instead of the first hour
--debian   a folder with a Debian that debootstrap has made, which stays as it is; it is made if it does not exist, and kept. Without
           the option it is in a temporary folder
--suite    stable; --mirror   that of this machine's apt

Needs root, debootstrap, systemd-nspawn (systemd-container), pebble and pebble-challtestsrv (.ci/run names their version). The Debian has
no network: what README installs by apt beside natter is put into it by debootstrap. Ends with `natter first hour: PASSED` and status 0,
`FAILED` and 1, or `SKIPPED` and 0 where one of these is missing or namespaces can't be made. Takes three minutes, and at most ten.
"""

import argparse
import json
import os
import platform
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Seconds in which one step must be done, and all of them.
PATIENCE = 60
WHOLE_TIME = 600
NAME = "chat.example.org"
API = f"https://{NAME}/api/v1"
PASSWORD = "a password that Ada has typed"
# What README installs by apt beside natter, and what the checks need. The rest is what every Debian has.
PACKAGES = "ca-certificates,curl,dbus,prometheus"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "TERM": "dumb",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
}
PEBBLE = {
    "listenAddress": "127.0.0.1:14000",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/mnt/certificates/p256.pem",
    "privateKey": "/mnt/certificates/p256.key.pem",
    "httpPort": 80,
    "tlsPort": 443,
    "retryAfter": {"authz": 1, "order": 1},
    "keyAlgorithm": "ecdsa",
    "profiles": {"default": {"description": "the only one", "validityPeriod": 7776000}},
}


class Skipped(Exception):
    pass


class Failed(Exception):
    pass


def found(program):
    path = shutil.which(program) or shutil.which(program, path=Path.home() / "go/bin")
    if path is None:
        raise Skipped(f"no {program}")
    return path


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Failed(f"not within {PATIENCE} s: {what}")
        time.sleep(0.2)


def blocks():
    """The lines to type: those that install, of the tour, for https, for the backup, and for Prometheus."""
    text = (ROOT / "README.md").read_text()
    begin = text.index("<!-- scripts/package first-hour types these lines")
    screens, rest = text[begin:].split("\nElsewhere,", 1)
    found_there = re.findall(r"^```sh\n(.*?)^```", screens, re.DOTALL | re.MULTILINE)
    if len(found_there) != 4:
        raise Failed(f"README has {len(found_there)} blocks of lines where four are expected")
    tour = re.search(r"^## A two-minute tour\n.*?^```sh\n(.*?)^```", rest, re.DOTALL | re.MULTILINE)
    if tour is None:
        raise Failed("README has no tour")
    return [found_there[0], tour[1], *found_there[1:]]


def make_debian(folder, suite, mirror, log):
    if (folder / "usr/bin/prometheus").exists():
        return
    print(f"        a fresh Debian ({suite}) is made in {folder}", flush=True)
    if mirror is None:
        sources = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
        text = "\n".join(source.read_text() for source in sources if source.is_file())
        own = re.search(r"^(?:URIs:|deb(?: \[.*?\])?)\s+(https?://\S+/debian/?)(?:\s|$)", text, re.MULTILINE)
        mirror = own[1] if own else "http://deb.debian.org/debian"
    command = ["debootstrap", f"--include={PACKAGES}", suite, str(folder), mirror]
    with log.open("w") as out:
        done = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        tail = log.read_text().splitlines()[-1:]
        raise Skipped(f"debootstrap can't make a Debian here: {' '.join(tail)}")


class Machine:
    """The Debian that boots. What it writes goes to memory, and is gone at the end."""

    # Where systemd-nspawn puts its own groups if no systemd runs here.
    GROUPS = [Path("/sys/fs/cgroup") / part / name for part in ("", "unified", "systemd") for name in ("payload", "supervisor")]

    def __init__(self, debian, media, log):
        self.log = log
        self.left = [group for group in self.GROUPS if not group.exists()]
        options = [f"--directory={debian}", "--volatile=overlay", "--private-network", "--register=no", "--console=pipe"]
        options += [f"--machine=natter-{os.getpid()}", f"--bind-ro={media}:/mnt", "--boot"]
        if not Path("/run/systemd/system").exists():
            options.append("--keep-unit")
        # Newer systemd boots with the second version of control groups alone.
        env = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        self.program = subprocess.Popen(
            ["systemd-nspawn", *options], env=env, stdin=subprocess.DEVNULL, stdout=log.open("w"), stderr=subprocess.STDOUT
        )
        self.leader = None

    def boot(self):
        def init():
            if self.program.poll() is not None:
                raise Skipped(f"systemd-nspawn can't boot a Debian here: {self.log.read_text().strip()}")
            children = Path(f"/proc/{self.program.pid}/task/{self.program.pid}/children").read_text().split()
            for child in children:
                # Until then its process has another name and other namespaces.
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    self.leader = child
            return self.leader

        until("an init runs", init)
        until("the Debian has booted", lambda: self.run("systemctl is-system-running", check=False).stdout.strip() == "running")

    def inside(self, command):
        env = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
        return ["nsenter", "-t", self.leader, "-a", "/usr/bin/env", "-i", *env, *command]

    def run(self, script, check=True):
        """What happens beside the newcomer's terminal."""
        command = self.inside(["bash", "-euc", script])
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise Failed(f"status {done.returncode} of: {script}\n{done.stdout}{done.stderr}")
        return done

    def call(self, path, body=None, token=None, status=200, api=API):
        """A request to the server by its name, with what this Debian trusts; the answer, which must have the status."""
        options = ["-H", f"Authorization: Bearer {token}"] if token else []
        options += ["--json", json.dumps(body)] if body is not None else []
        command = ["curl", "-sS", "-m", "20", "-w", "\n%{http_code}", *options, f"{api}{path}"]
        done = subprocess.run(self.inside(command), capture_output=True, text=True, timeout=PATIENCE)
        answer, _, got = done.stdout.rpartition("\n")
        if got != str(status):
            raise Failed(f"{path}: {got} instead of {status}: {answer}{done.stderr}")
        return json.loads(answer) if answer else None

    def end(self):
        # The first signal shuts the Debian down, the second one ends it.
        for patience in (20, 10):
            if self.program.poll() is None:
                self.program.terminate()
                try:
                    self.program.wait(patience)
                except subprocess.TimeoutExpired:
                    continue
        if self.program.poll() is None:
            self.program.kill()
            self.program.wait()
        for group in self.left:
            for folder in sorted([group, *group.rglob("*")] if group.is_dir() else [], reverse=True):
                if folder.is_dir():
                    folder.rmdir()


class Terminal:
    """A shell of root at a terminal of the machine, and a person who types when it is ready."""

    READY = re.compile(rb"<(\d+)>\$ $")

    def __init__(self, machine):
        # The terminal shows what is typed, and the shell does not draw it again: one prompt for each command.
        shell = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
        command = machine.inside(["env", "PS1=<$?>$ ", "PS2=", *shell])
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)
        self.transcript = ""
        self.read()

    def read(self, answers=()):
        """Waits for the prompt; returns what was printed until then, and the exit status that the prompt shows."""
        answers, text, end = list(answers), b"", time.monotonic() + PATIENCE
        while True:
            ready, _, _ = select.select([self.fd], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Failed(f"no prompt within {PATIENCE} s after:\n{text.decode(errors='replace')}")
            text += os.read(self.fd, 65536)
            if answers and text.endswith(b"Password: "):
                os.write(self.fd, (answers.pop(0) + "\n").encode())
            if text.endswith(b"[Y/n] "):
                os.write(self.fd, b"y\n")
            if prompt := self.READY.search(text):
                printed = text[: prompt.start()].decode(errors="replace").replace("\r", "")
                self.transcript += printed
                return printed, int(prompt[1])

    def type(self, lines, answers=()):
        """Types lines that form one command; returns what it printed."""
        os.write(self.fd, (lines + "\n").encode())
        printed, status = self.read(answers)
        if status != 0:
            raise Failed(f"status {status} of `{lines}`:\n{printed}")
        return printed

    def type_all(self, block, answers=()):
        """Types a block of README, command by command."""
        printed, command, end_of_text = "", [], None
        for line in block.splitlines():
            if not line and not command:
                continue
            command.append(line)
            if end_of_text is None and (text := re.search(r"<< '?(\w+)'?$", line)):
                end_of_text = text[1]
            elif line == end_of_text:
                end_of_text = None
            if end_of_text is None and not line.endswith("\\"):
                printed += self.type("\n".join(command), answers)
                command = []
        return printed

    def end(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def expect(text, *parts):
    for part in parts:
        if part not in text:
            raise Failed(f"{part!r} is missing in:\n{text}")


def install(machine, terminal, block):
    expect(terminal.type_all(block), "Setting up natter")
    machine.run("systemctl is-active natter && systemctl is-enabled natter")
    expect(machine.run("curl -fsS http://127.0.0.1:8080").stdout, "<html")


def tour(_machine, terminal, block):
    terminal.type("cd /root")
    printed = terminal.type_all(block)
    expect(printed, '"body":"hello, Bob"', '"duplicate":true', '"unread_total":1', "event: message.posted", "are you there?")


def stand_ins(machine):
    """Pebble, which this Debian trusts as it does Let's Encrypt, and a name that leads here."""
    machine.run(
        f"""
        echo '127.0.0.1 {NAME}' >> /etc/hosts
        systemd-run -q --unit=dns /mnt/pebble-challtestsrv -dnsserver 127.0.0.1:8053 -management 127.0.0.1:8055 \\
            -http01 '' -https01 '' -tlsalpn01 '' -doh '' -defaultIPv6 '' -defaultIPv4 127.0.0.1
        systemd-run -q --unit=pebble /mnt/pebble -strict -config /mnt/pebble.json -dnsserver 127.0.0.1:8053
        install -m644 /mnt/certificates/authority.pem /etc/pebble.pem
        echo ACME_DIRECTORY=https://127.0.0.1:14000/dir >> /etc/default/natter
        echo TLS_CA_FILE=/etc/pebble.pem >> /etc/default/natter
        """
    )
    root = "curl -fsS --cacert /etc/pebble.pem https://127.0.0.1:15000/roots/0"
    until("Pebble answers", lambda: machine.run(f"{root} > /usr/local/share/ca-certificates/pebble.crt", check=False).returncode == 0)
    machine.run("update-ca-certificates")


def https(machine, terminal, block):
    """The accounts of the tour are gone, Ada has one, and the next person makes one by the link."""
    stand_ins(machine)
    printed = terminal.type_all(block, [PASSWORD])
    if PASSWORD in printed:
        raise Failed("the password is shown")
    expect(printed, "active,verified,admin", "messages     are taken")
    invite = re.search(rf"https://{re.escape(NAME)}/#/i/(\S+)", printed)
    if invite is None:
        raise Failed(f"no link for the next person:\n{printed}")
    ready = f"curl -fsS https://{NAME}/readyz"
    until("https works, without a warning", lambda: '"warnings":[]' in machine.run(ready, check=False).stdout)
    expect(terminal.type("natter status"), "certificate  ends on 20")
    expect(machine.run(f"curl -sSI http://{NAME}/").stdout, " 308 ", f"Location: https://{NAME}/")
    old = {"email": "ann@example.org", "password": "correct horse battery"}
    machine.call("/user/sign-in", old, status=401)
    person = {"display_name": "Grace", "email": "grace@example.org", "password": "she has chosen this"}
    machine.call("/user/sign-up", person, status=403)
    grace = machine.call("/user/sign-up", {**person, "invite": invite[1]}, status=201)
    machine.call("/user/sign-up", {**person, "email": "eve@example.org", "invite": invite[1]}, status=422)
    return grace["data"]["profile"]["id"]


def ada_writes(machine, to, client_id):
    ada = machine.call("/user/sign-in", {"email": "ada@example.org", "password": PASSWORD})
    body = {"to": to, "client_id": client_id, "body": "hello, Grace"}
    posted = machine.call("/messages", body, ada["data"]["token"]["access"], status=201)
    return posted["data"]["n"]


def backup(_machine, terminal, block):
    expect(terminal.type_all(block), "of the server in /var/lib/natter/data", ": a good backup")


def metrics(machine, terminal, block):
    terminal.type_all(block)

    def one(query):
        ask = f"curl -fsS -G --data-urlencode 'query={query}' http://127.0.0.1:9090/api/v1/query"
        return '"value":[' in machine.run(ask, check=False).stdout

    for query in ('up{job="natter"} == 1', "natter_storage_ready == 1", "natter_tls_certificate_expires_seconds > time()"):
        until(f"Prometheus has {query}", lambda query=query: one(query))
    machine.run("promtool check rules /usr/share/natter/monitoring/alerts.yml")


def order(machine):
    """What the machine says of it all."""
    state = machine.run("systemctl is-system-running; systemctl --failed --no-legend", check=False).stdout
    if state.strip() != "running":
        raise Failed(f"the system is not well:\n{state}")
    errors = machine.run("journalctl -u natter -p err -q --no-pager").stdout
    if errors:
        raise Failed(f"errors in the journal:\n{errors}")


def again(machine, terminal, install_line, grace):
    """README: removing the package keeps the data."""
    terminal.type("cd /mnt")
    terminal.type("apt remove -y natter")
    machine.run("! systemctl is-active natter && test -s /var/lib/natter/data/natter.db")
    terminal.type_all(install_line)
    until("https works again", lambda: machine.run(f"curl -fsS https://{NAME}/readyz", check=False).returncode == 0)
    if (n := ada_writes(machine, grace, "01KAQ3V0Y8R5T0M6Z2C4W7E9XE")) != 2:
        raise Failed(f"the second message has the number {n}")


def with_deb(lines, deb):
    """README names the version and the architecture of a release."""
    return re.sub(r"natter_\S+\.deb", deb.name, lines)


def step(name, work, *args):
    began = time.monotonic()
    result = work(*args)
    print(f"ok      {name} ({time.monotonic() - began:.1f} s)", flush=True)
    return result


def first_hour(machine, terminal, deb):
    install_lines, tour_lines, https_lines, backup_lines, metrics_lines = blocks()
    install_lines = with_deb(install_lines, deb)
    terminal.type("cd /mnt")
    step("the package installs by apt, and natter runs", install, machine, terminal, install_lines)
    step("the tour", tour, machine, terminal, tour_lines)
    grace = step("https, two accounts and an invite", https, machine, terminal, https_lines)
    step("Ada writes to Grace", ada_writes, machine, grace, "01KAQ3V0Y8R5T0M6Z2C4W7E9XD")
    step("a backup, and it is verified", backup, machine, terminal, backup_lines)
    step("metrics are in Prometheus", metrics, machine, terminal, metrics_lines)
    step("the system is well, and the journal has no error", order, machine)
    step("the package is removed and installed again, and the data is there", again, machine, terminal, install_lines, grace)


def package_of_before(deb, program, folder):
    """The package with another program, of a version that is older than any release."""
    content = folder / "before"
    old = folder / f"natter_0.0.1_{deb.stem.rsplit('_', 1)[1]}.deb"
    subprocess.run(["dpkg-deb", "-R", deb, content], check=True)
    shutil.copy(program, content / "usr/bin/natter")
    (content / "DEBIAN/md5sums").unlink()
    control = content / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: .*", "Version: 0.0.1", control.read_text(), flags=re.MULTILINE))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", content, old], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(content)
    return old


def messages(machine, client_id=None):
    """Ann signs in, and posts if there is an id; the bodies of what she and Bob have written."""
    local = {"api": "http://127.0.0.1:8080/api/v1"}
    until("natter is ready", lambda: machine.run("curl -fsS http://127.0.0.1:8080/readyz", check=False).returncode == 0)
    ann = {"email": "ann@example.org", "password": "correct horse battery"}
    token = machine.call("/user/sign-in", ann, **local)["data"]["token"]["access"]
    conversation = machine.call("/conversations", token=token, **local)["data"][0]
    if client_id:
        body = {"to": conversation["peer"]["id"], "client_id": client_id, "body": "later"}
        machine.call("/messages", body, token, status=201, **local)
    history = machine.call(f"/conversations/{conversation['id']}/messages", token=token, **local)["data"]
    return sorted((message["n"], message["body"]) for message in history)


def upgrade(machine, terminal, install_line):
    schema = machine.run("cd /var/lib/natter/data; ls natter.db.schema-* 2> /dev/null || true").stdout
    terminal.type("cd /mnt")
    expect(terminal.type_all(install_line), "Setting up natter")
    machine.run("systemctl is-active natter")
    copy = machine.run("cd /var/lib/natter/data; ls natter.db.schema-*").stdout
    if schema or len(copy.split()) != 1:
        raise Failed(f"the copies before and after the upgrade: {schema!r} and {copy!r}")
    return copy.strip()


def way_back(machine, terminal, deb, old):
    text = (ROOT / "README.md").read_text()
    lines = re.search(r"^<!-- scripts/package first-hour --before .*?^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    install_line, tour_lines = blocks()[:2]
    terminal.type("cd /mnt")
    step("natter of before runs", install, machine, terminal, with_deb(install_line, old))
    step("the tour", tour, machine, terminal, tour_lines)
    before = [(1, "hello, Bob"), (2, "are you there?")]
    after = [*before, (3, "later")]

    def has(expected, client_id=None):
        if (got := messages(machine, client_id)) != expected:
            raise Failed(f"{got} instead of {expected}")

    copy = step("an upgrade keeps a copy of the database", upgrade, machine, terminal, with_deb(install_line, deb))
    step("the messages are there, and one more", has, after, "01KAQ3V0Y8R5T0M6Z2C4W7E9XF")
    back = re.sub(r"natter\.db\.schema-\d+", copy, with_deb(lines[1], old))
    terminal.type("cd /mnt")
    step("the way back", terminal.type_all, back)
    machine.run("dpkg -s natter | grep -x 'Version: 0.0.1'")
    step("what was there before the upgrade is there, and nothing else", has, before)
    step("a message is taken", has, after, "01KAQ3V0Y8R5T0M6Z2C4W7E9XG")
    step("a second upgrade", upgrade, machine, terminal, with_deb(install_line, deb))
    step("the messages are there", has, after)
    step("the system is well, and the journal has no error", order, machine)


def play(machine, deb, old):
    terminal = Terminal(machine)
    try:
        if old:
            way_back(machine, terminal, deb, old)
        else:
            first_hour(machine, terminal, deb)
    except Exception:
        print("        " + "\n        ".join(terminal.transcript.splitlines()[-40:]))
        journal = machine.run("journalctl -u natter -q --no-pager | tail -n 20", check=False).stdout
        print("        " + "\n        ".join(journal.splitlines()))
        raise
    finally:
        terminal.end()


def fill(folder, deb):
    """The one folder of this machine that the Debian sees."""
    shutil.copy(deb, folder)
    for program in ("pebble", "pebble-challtestsrv"):
        shutil.copy(found(program), folder)
    shutil.copytree(ROOT / "tests/certificates", folder / "certificates")
    (folder / "pebble.json").write_text(json.dumps({"pebble": PEBBLE}))


def too_long(*_):
    raise Failed(f"it takes longer than {WHOLE_TIME} s")


def main():
    machine_name = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    parser = argparse.ArgumentParser(usage=__doc__, add_help=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--deb", type=Path)
    parser.add_argument("--before", type=Path)
    parser.add_argument("--debian", type=Path)
    parser.add_argument("--suite", default="stable")
    parser.add_argument("--mirror")
    options = parser.parse_args()
    if options.help:
        print(__doc__.strip())
        return
    if os.geteuid() != 0:
        raise Skipped("not root: a Debian can neither be made nor booted")
    for program in ("debootstrap", "systemd-nspawn", "nsenter", "pebble", "pebble-challtestsrv"):
        found(program)
    alone = subprocess.run(["unshare", "--mount", "--pid", "--uts", "--ipc", "--net", "--fork", "true"], capture_output=True, text=True)
    if alone.returncode != 0:
        raise Skipped(f"namespaces can't be made here: {alone.stderr.strip()}")
    deb = options.deb or next(iter((ROOT / "target/package/out").glob(f"natter_*_{machine_name}.deb")), None)
    if deb is None:
        raise Failed("no package: run scripts/package")
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(WHOLE_TIME)
    with tempfile.TemporaryDirectory(prefix="natter-first-hour.") as folder:
        folder = Path(folder)
        folder.chmod(0o755)
        debian = options.debian or folder / "debian"
        make_debian(debian, options.suite, options.mirror, folder / "debootstrap.log")
        media = folder / "media"
        media.mkdir()
        media.chmod(0o755)
        fill(media, deb)
        old = package_of_before(deb, options.before, media) if options.before else None
        machine = Machine(debian, media, folder / "boot.log")
        try:
            machine.boot()
            print("ok      a fresh Debian has booted", flush=True)
            play(machine, deb, old)
        finally:
            machine.end()


if __name__ == "__main__":
    try:
        main()
    except Skipped as reason:
        print(f"natter first hour: SKIPPED ({reason})")
    except (Failed, OSError, subprocess.SubprocessError) as failure:
        print(f"        {failure}\nnatter first hour: FAILED")
        sys.exit(1)
    else:
        if not {"-h", "--help"} & set(sys.argv):
            print("natter first hour: PASSED")
