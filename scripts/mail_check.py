"""The cases of scripts/mail-check: each has its own natter, and an aiosmtpd that keeps the mails it gets.

Owns the processes it starts and ends them. What it believes of a mail it reads with Python's own parser, not with ours.
"""

import email
import email.policy
import json
import logging
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import warnings
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

BINARY = os.environ["NATTER_BIN"]
PATIENCE = 60


class Keeper:
    """Keeps envelopes and messages."""

    def __init__(self):
        self.kept = []

    async def handle_DATA(self, server, session, envelope):
        self.kept.append((envelope, session))
        return "250 taken"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def certificates(folder):
    """An authority, and a server certificate of it for 127.0.0.1."""
    run = lambda *args: subprocess.run(args, cwd=folder, check=True, capture_output=True)
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
        "-subj", "/CN=mail-check authority", "-keyout", "ca.key", "-out", "ca.pem",
        "-addext", "basicConstraints=critical,CA:TRUE")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-subj", "/CN=mail-check", "-keyout", "server.key", "-out", "server.csr")
    (folder / "extensions").write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    run("openssl", "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
        "-days", "2", "-extfile", "extensions", "-out", "server.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    return context


class Natter:
    def __init__(self, folder, env):
        base = {"PORT": "0", "RATE_LIMIT": "off", "ARGON2": "1024,1,1"}
        self.process = subprocess.Popen([BINARY], cwd=folder, env=base | env, stderr=subprocess.PIPE, text=True)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"http://([0-9.:]+),", line)
            if found:
                self.url = f"http://{found[1]}/api/v1"
                break
        else:
            raise AssertionError("no start: " + "".join(self.log))

    def ask(self, method, path, body=None, access=None, headers=()):
        request = urllib.request.Request(self.url + path, method=method, data=json.dumps(body or {}).encode())
        request.add_header("Content-Type", "application/json")
        for name, value in headers:
            request.add_header(name, value)
        if access:
            request.add_header("Authorization", f"Bearer {access}")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def sign_up(self, language):
        body = {"display_name": "Ada\r\nBcc: x@example.org", "email": "ada@example.net", "password": "analytical engine"}
        status, answer = self.ask("POST", "/user/sign-up", body, headers=[("Accept-Language", language)])
        assert status == 201, (status, answer)
        return answer["data"]["token"]["access"]

    def wait_for_line(self, text):
        for line in self.process.stderr:
            self.log.append(line)
            if text in line:
                return line
        raise AssertionError(f"no {text!r} in " + "".join(self.log))

    def stop(self):
        self.process.terminate()
        _, rest = self.process.communicate(timeout=PATIENCE)
        self.log.append(rest)
        assert self.process.returncode == 0, self.process.returncode
        log = "".join(self.log)
        assert "ada@example.net" not in log, "an address in the log"
        return log


def wait_for(keeper, count):
    until = time.monotonic() + PATIENCE
    while len(keeper.kept) < count:
        assert time.monotonic() < until, f"{len(keeper.kept)} of {count} mails"
        time.sleep(0.02)


def judge(envelope, natter, access, language):
    """The mail is complete, has the right text, and its code works."""
    assert envelope.mail_from == "chat@example.org" and envelope.rcpt_tos == ["ada@example.net"], envelope
    message = email.message_from_bytes(envelope.content, policy=email.policy.default)
    names = [name.lower() for name in message.keys()]
    for name in ["from", "to", "subject", "date", "message-id", "mime-version", "content-type"]:
        assert names.count(name) == 1, (name, names)
    assert "bcc" not in names and not message.defects, (names, message.defects)
    assert message["From"].addresses[0].display_name == "natter — chat", message["From"]
    assert message["Date"].datetime is not None
    assert re.fullmatch(r"<[0-9A-Z]{26}@example\.org>", str(message["Message-ID"])), message["Message-ID"]
    subject = {"en": "Your verification code", "ar": "رمز التأكيد الخاص بك"}[language]
    assert str(message["Subject"]) == subject, message["Subject"]
    text = message.get_content()
    code = re.search(r"^(\d{6})\r?$", text, re.M)[1]
    wrong = "000000" if code != "000000" else "000001"
    status, answer = natter.ask("POST", "/user/verify/check", {"code": wrong}, access)
    assert (status, answer["code"]) == (400, "code_wrong"), answer
    status, answer = natter.ask("POST", "/user/verify/check", {"code": code}, access)
    assert status == 200, answer


def serve(keeper, port, **options):
    controller = Controller(keeper, hostname="127.0.0.1", port=port, **options)
    controller.start()
    return controller


def login(seen):
    def check(server, session, envelope, mechanism, data):
        seen.append((mechanism, data.login, data.password))
        return AuthResult(success=data.password == b"pa$x word", handled=data.password != b"pa$x word")
    return check


def environment(port, tls, folder, **more):
    env = {"EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(port), "EMAIL_TLS": tls,
           "EMAIL_FROM": "natter — chat <chat@example.org>", "DATA_DIR": str(folder / "data")}
    return env | more


def case_clear(folder, _):
    for language in ["en", "ar"]:
        keeper, port = Keeper(), free_port()
        server = serve(keeper, port)
        natter = Natter(folder, environment(port, "none", folder / language))
        access = natter.sign_up(language)
        wait_for(keeper, 1)
        judge(keeper.kept[0][0], natter, access, language)
        natter.stop()
        server.stop()
        assert len(keeper.kept) == 1


def case_seven_bit(folder, _):
    """A server without 8BITMIME gets base64."""
    keeper, port = Keeper(), free_port()
    server = serve(keeper, port)
    original = SMTP.smtp_EHLO

    async def ehlo(self, hostname):
        self.session.extended_smtp = True
        self.session.host_name = hostname
        await self.push("250 mx")
    SMTP.smtp_EHLO = ehlo
    try:
        natter = Natter(folder, environment(port, "none", folder))
        access = natter.sign_up("ar")
        wait_for(keeper, 1)
        assert keeper.kept[0][0].content.isascii()
        judge(keeper.kept[0][0], natter, access, "ar")
        natter.stop()
    finally:
        SMTP.smtp_EHLO = original
        server.stop()


def case_starttls(folder, context):
    keeper, port, seen = Keeper(), free_port(), []
    server = serve(keeper, port, tls_context=context, require_starttls=True, authenticator=login(seen),
                   auth_required=True, auth_require_tls=True)
    env = environment(port, "starttls", folder, EMAIL_USER="chat", EMAIL_PASSWORD="pa$x word",
                      TLS_CA_FILE=str(folder.parent / "ca.pem"))
    natter = Natter(folder, env)
    access = natter.sign_up("ar")
    wait_for(keeper, 1)
    judge(keeper.kept[0][0], natter, access, "ar")
    assert keeper.kept[0][1].ssl is not None, "in clear"
    assert seen == [("PLAIN", b"chat", b"pa$x word")], seen
    log = natter.stop()
    assert "pa$x" not in log
    server.stop()


def case_tls(folder, context):
    keeper, port, seen = Keeper(), free_port(), []
    server = serve(keeper, port, ssl_context=context, authenticator=login(seen), auth_required=True,
                   auth_require_tls=False, auth_exclude_mechanism=["PLAIN"])
    env = environment(port, "tls", folder, EMAIL_USER="chat", EMAIL_PASSWORD="pa$x word",
                      TLS_CA_FILE=str(folder.parent / "ca.pem"))
    natter = Natter(folder, env)
    access = natter.sign_up("en")
    wait_for(keeper, 1)
    judge(keeper.kept[0][0], natter, access, "en")
    assert seen == [("LOGIN", b"chat", b"pa$x word")], seen
    natter.stop()
    server.stop()


def case_stranger(folder, context):
    """An untrusted certificate: no byte of the mail is sent."""
    for tls, options in [("starttls", {"tls_context": context}), ("tls", {"ssl_context": context})]:
        keeper, port = Keeper(), free_port()
        server = serve(keeper, port, **options)
        natter = Natter(folder, environment(port, tls, folder / tls))
        natter.sign_up("en")
        line = natter.wait_for_line("not sent, to be tried again")
        assert "TLS" in line, line
        natter.stop()
        assert keeper.kept == []
        server.stop()


def case_no_starttls(folder, _):
    """STARTTLS is configured and not offered: nothing is sent in clear text."""
    keeper, port = Keeper(), free_port()
    server = serve(keeper, port)
    natter = Natter(folder, environment(port, "starttls", folder))
    natter.sign_up("en")
    natter.wait_for_line("STARTTLS")
    natter.stop()
    assert keeper.kept == []
    server.stop()


def case_down_for_a_while(folder, _):
    """No server listens at first, and natter is killed; the mail still arrives, once."""
    port = free_port()
    env = environment(port, "none", folder)
    natter = Natter(folder, env)
    access = natter.sign_up("en")
    natter.wait_for_line("not sent, to be tried again")
    natter.process.kill()
    natter.process.wait()
    keeper = Keeper()
    server = serve(keeper, port)
    natter = Natter(folder, env)
    wait_for(keeper, 1)
    judge(keeper.kept[0][0], natter, access, "en")
    natter.stop()
    natter = Natter(folder, env)
    natter.ask("POST", "/user/reset/code", {"email": "ada@example.net"})
    wait_for(keeper, 2)
    natter.stop()
    server.stop()
    assert len(keeper.kept) == 2, "the first one was sent again"


CASES = [case_clear, case_seven_bit, case_starttls, case_tls, case_stranger, case_no_starttls, case_down_for_a_while]


def main():
    # Some cases cause warnings of aiosmtpd about logins in clear text and interrupted handshakes: they are expected.
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="natter-mail-check-") as root:
        root = Path(root)
        context = certificates(root)
        for case in CASES:
            name = case.__name__.removeprefix("case_")
            folder = root / name
            folder.mkdir()
            try:
                case(folder, context)
                print(f"{name}: passed", flush=True)
            except Exception as error:  # every case runs, also after a failed one
                failed += 1
                print(f"{name}: FAILED: {type(error).__name__}: {error}", flush=True)
    print(f"natter mail-check: {'FAILED' if failed else 'PASSED'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
