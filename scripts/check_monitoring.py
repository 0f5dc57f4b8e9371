"""The cases of scripts/check-monitoring: a natter with some traffic, and a Prometheus that scrapes it.

Owns the two processes and a temporary folder, and ends both by their ids. Both listen on ports of 127.0.0.1 that the system chooses.
"""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

BINARY = os.environ["NATTER_BIN"]
MONITORING = Path("scripts/monitoring")
CERTIFICATES = Path("tests/certificates").resolve()
# Seconds until what is waited for must have happened.
PATIENCE = 40

# What a dashboard replaces: the time over which a rate is taken, and the chosen natters.
VARIABLES = {"$__rate_interval": "5s", "$instance": ".*"}


class Failed(Exception):
    pass


def run(*args, **kwargs):
    done = subprocess.run(args, capture_output=True, text=True, timeout=PATIENCE, **kwargs)
    output = done.stdout + done.stderr
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, args))}:\n{output}")
    return output


def until(what, condition):
    end = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"not within {PATIENCE} s: {what}")
        time.sleep(0.1)


class Process:
    """A program whose log names the address at which it listens."""

    def __init__(self, folder, args, env, address):
        self.log = folder / f"{Path(args[0]).name}.log"
        self.program = subprocess.Popen(args, cwd=folder, env=env, stdout=self.log.open("w"), stderr=subprocess.STDOUT)
        self.address = until(f"{args[0]} listens: {self.log.read_text()}", lambda: self.find(address))

    def find(self, address):
        if self.program.poll() is not None:
            raise Failed(f"{self.program.args[0]} ended:\n{self.log.read_text()}")
        found = re.search(address, self.log.read_text())
        return found and found.group(1)

    def end(self):
        self.program.send_signal(signal.SIGTERM)
        try:
            self.program.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.program.kill()
            self.program.wait()


class Client:
    """Asks natter over https, whose certificate is one of the tests."""

    def __init__(self, address):
        self.address = address
        self.trust = ssl.create_default_context()
        self.trust.check_hostname = False
        self.trust.verify_mode = ssl.CERT_NONE

    def open(self, method, path, token=None, body=None, accept="*/*"):
        headers = {"Content-Type": "application/json", "Accept": accept}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://{self.address}{path}", data, headers, method=method)
        return urllib.request.urlopen(request, timeout=PATIENCE, context=self.trust)

    def ask(self, method, path, token=None, body=None):
        with self.open(method, path, token, body) as answer:
            return answer.read().decode()

    def sign_up(self, name):
        person = {"display_name": name, "email": f"{name}@example.org", "password": f"correct horse {name}'s"}
        found = json.loads(self.ask("POST", "/api/v1/user/sign-up", body=person))["data"]
        return found["token"]["access"], found["profile"]["id"]


def traffic(client):
    """Two people, a post, a search, a refusal. Returns a stream that stays open."""
    (ann, _), (bob, profile) = client.sign_up("ann"), client.sign_up("bob")
    stream = client.open("GET", "/api/v1/events", bob, accept="text/event-stream")
    for n in range(20):
        client.ask("POST", "/api/v1/messages", ann, {"to": profile, "client_id": f"01ARZ3NDEKTSV4RRFFQ69G{n:04}", "body": "hello"})
    client.ask("GET", "/api/v1/search?q=hello", ann)
    client.ask("GET", "/api/v1/conversations", ann)
    try:
        client.ask("GET", "/api/v1/messages/01ARZ3NDEKTSV4RRFFQ69G5FAV", ann)
    except urllib.error.HTTPError as refused:
        if refused.code != 404:
            raise
    return stream


def names_of(expr):
    return set(re.findall(r"\b(?:natter|process)_\w+", expr))


def check(folder):
    print(run("promtool", "check", "rules", "alerts.yml", cwd=MONITORING).strip())
    run("promtool", "test", "rules", "alerts_test.yml", cwd=MONITORING)
    run("promtool", "check", "config", "prometheus.yml", cwd=MONITORING)
    env = {"PATH": os.environ["PATH"], "DATA_DIR": "data", "HOST": "127.0.0.1", "PORT": "0",
           "TLS_CERT": str(CERTIFICATES / "p256.pem"), "TLS_KEY": str(CERTIFICATES / "p256.key.pem"),
           "BACKUP_EVERY": "1h", "BACKUP_DIR": str(folder / "backups"), "DISK_FREE_MIN": "0"}
    natter = Process(folder, [BINARY], env, r"listens on https://([\d.:]+)")
    try:
        client = Client(natter.address)
        stream = traffic(client)
        until("the first backup", lambda: "backup_last_success" in client.ask("GET", "/metrics"))
        config = json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str((MONITORING / "alerts.yml").resolve())],
            "scrape_configs": [{
                "job_name": "natter", "scheme": "https", "tls_config": {"insecure_skip_verify": True},
                "static_configs": [{"targets": [natter.address]}],
            }],
        })
        (folder / "prometheus.yml").write_text(config)
        args = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=series", "--web.listen-address=127.0.0.1:0"]
        prometheus = Process(folder, args, {"PATH": os.environ["PATH"]}, r"Listening on\".*address=(127\.0\.0\.1:\d+)")
        try:
            check_scraped(client, f"http://{prometheus.address}/api/v1")
        finally:
            prometheus.end()
        stream.close()
    finally:
        natter.end()


def check_scraped(client, api):
    def get(path):
        try:
            with urllib.request.urlopen(api + path, timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as refused:
            raise Failed(f"{path}: {refused.read().decode()}") from refused

    def series(expr):
        return get("/query?" + urllib.parse.urlencode({"query": expr}))["result"]

    def is_ready():
        try:
            return urllib.request.urlopen(api.replace("/api/v1", "/-/ready"), timeout=PATIENCE).status == 200
        except urllib.error.HTTPError as refused:
            if refused.code == 503:  # it listens before it has read its series
                return False
            raise

    until("Prometheus is ready", is_ready)
    until("natter is scraped twice", lambda: [one for one in series("count_over_time(up[1m])") if int(one["value"][1]) > 1])
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    targets = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel["targets"]]
    for title, expr in targets:
        for name, value in VARIABLES.items():
            expr = expr.replace(name, value)
        until(f"a series of {title}: {expr}", lambda: series(expr))
    print(f"{len(targets)} queries of the dashboard return a series")

    text = client.ask("GET", "/metrics")
    complaints = run("promtool", "check", "metrics", input=text)
    if complaints.strip():
        raise Failed(f"promtool check metrics:\n{complaints}")
    known = {re.split("[ {]", line)[0] for line in text.splitlines() if not line.startswith("#")}
    # Those of a cluster are in the table from which they are written.
    source = Path("src/server/request/metrics.rs").read_text()
    known |= {f"natter_cluster_{name}" for name in re.findall(r'\(\s*"(\w+)",\s*"(?:gauge|counter)"', source)}
    rules = until("the alerts are evaluated", lambda: [
        rule for group in get("/rules")["groups"] for rule in group["rules"] if rule["health"] != "unknown"])
    for rule in rules:
        missing = names_of(rule["query"]) - known
        if rule["health"] != "ok" or missing:
            raise Failed(f"{rule['name']}: {rule.get('lastError')}, unknown: {missing}")
        if rule["state"] == "firing":
            raise Failed(f"{rule['name']} fires at a healthy natter")
    print(f"{len(rules)} alerts are evaluated and quiet")


with tempfile.TemporaryDirectory(prefix="natter-monitoring-") as folder:
    try:
        check(Path(folder))
    except Failed as failed:
        print(failed)
        print("natter monitoring: FAILED")
        sys.exit(1)
print("natter monitoring: PASSED")
