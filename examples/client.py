#!/usr/bin/env python3
"""A client of natter in the Python standard library that keeps the complete promise: nothing lost, nothing twice, one order.

It owns an outbox on disk (a post keeps its client_id until it is answered), a cursor on disk (events are read from where it stopped)
and a store that keeps, of each message, the greatest `rev`.

    client.py ADDRESS FOLDER EMAIL PASSWORD [TO TEXT…]    posts what is in the outbox, then reads what happened
"""
import http.client
import json
import os
import secrets
import signal
import sys
import time
import urllib.error
import urllib.request

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid():
    """The time in milliseconds, then 80 random bits."""
    number = time.time_ns() // 1_000_000 << 80 | secrets.randbits(80)
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


class Refused(Exception):
    """A problem (RFC 9457): `code` is stable, `retry` says whether the same request may succeed later."""

    def __init__(self, status, problem):
        super().__init__(f"{status} {problem.get('code')}: {problem.get('title')}")
        self.status, self.problem = status, problem


class Client:
    def __init__(self, address, folder):
        os.makedirs(folder, exist_ok=True)
        self.base, self.path, self.access = f"http://{address}/api/v1", os.path.join(folder, "client.json"), None
        self.state = {"outbox": [], "cursor": None, "messages": {}}
        if os.path.exists(self.path):
            self.state = json.load(open(self.path, encoding="utf-8"))
            if not isinstance(self.state, dict) or not {"outbox", "cursor", "messages"} <= self.state.keys():
                raise ValueError(f"{self.path} is not a state of this client")

    def save(self):
        """Replaces the file at once: writes and syncs another one, then renames it over the old one."""
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            json.dump(self.state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(self.path + ".new", self.path)

    def ask(self, method, path, body=None, timeout=40):
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self.access}"} if self.access else {})}
        request = urllib.request.Request(self.base + path, body and json.dumps(body).encode(), headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                answer = json.load(response)
            if not isinstance(answer, dict) or "data" not in answer:
                raise ValueError("this answer is not natter's")
            return answer
        except urllib.error.HTTPError as error:
            try:
                problem = dict(json.load(error))
            except (ValueError, TypeError):  # a proxy, or another server
                problem = {"code": "no_json", "title": "this answer is not natter's", "retry": error.code in (502, 503, 504)}
            raise Refused(error.code, problem) from None

    def insist(self, method, path, body=None):
        """Until the server answers. What was not answered may be asked again: a post has its client_id."""
        told = None
        while True:
            try:
                return self.ask(method, path, body)
            except Refused as refused:
                if not refused.problem.get("retry"):
                    raise
                time.sleep((refused.problem.get("retry_after_ms") or 1_000) / 1_000)
            except (OSError, http.client.HTTPException, ValueError) as error:  # no answer, or not one of natter
                if told != str(error):
                    told = str(error)
                    print(f"no answer from {self.base}, asking again: {told}", file=sys.stderr)
                time.sleep(1)

    def sign_in(self, email, password):
        self.access = self.insist("POST", "/user/sign-in", {"email": email, "password": password})["data"]["token"]["access"]

    def write(self, to, text):
        """Into the outbox first: from now on a crash loses nothing."""
        self.state["outbox"].append({"to": to, "client_id": ulid(), "body": text})
        self.save()

    def flush(self):
        """Posts the outbox in order. A post without an answer is posted again with its client_id, so that it is stored once."""
        while self.state["outbox"]:
            try:
                self.keep(self.insist("POST", "/messages", self.state["outbox"][0])["data"])
            except Refused as refused:
                if refused.status == 401:
                    raise
                print(f"not taken: {refused}", file=sys.stderr)
            self.state["outbox"].pop(0)
            self.save()

    def keep(self, message):
        """An answer and an event may bring the same message, in any order. After one has left there is no `rev`."""
        known = self.state["messages"].get(message["id"], {"rev": 0})
        if message.get("rev", 0) > known["rev"]:
            self.state["messages"][message["id"]] = message

    def listen(self, wait=0):
        """Everything since the cursor. A page and the cursor after it are saved together: an event counts once."""
        while True:
            cursor = self.state["cursor"]
            query = f"?wait={wait}&limit=200" + (f"&cursor={cursor}" if cursor else "")
            try:
                page = self.insist("GET", "/events" + query)
            except Refused as refused:
                if refused.problem.get("code") != "cursor_reset":
                    raise
                # The log does not reach back this far: the lists are fetched again, and merged by `rev`.
                self.state["cursor"] = refused.problem["cursor"]
                self.fetch()
                continue
            for event in page["data"]:
                if event["event"].startswith("message."):
                    self.keep(event["data"])
            self.state["cursor"] = page["cursor"]
            self.save()
            if not page["data"]:
                return

    def fetch(self):
        for conversation in self.pages("/conversations?limit=200"):
            for message in self.pages(f"/conversations/{conversation['id']}/messages?limit=200"):
                self.keep(message)
        self.save()

    def pages(self, path):
        page = self.insist("GET", path)
        yield from page["data"]
        while page["next"] is not None:
            page = self.insist("GET", f"{path}&next={page['next']}")
            yield from page["data"]

    def shown(self):
        """In the one order, without tombstones."""
        messages = [message for message in self.state["messages"].values() if message["deleted_at"] is None]
        return [message["body"] for message in sorted(messages, key=lambda message: message["seq"])]


def main(address, folder, email, password, to=None, *texts):
    client = Client(address, folder)
    for text in texts:
        client.write(to, text)
    client.sign_in(email, password)
    client.flush()
    client.listen()
    print(json.dumps(client.shown(), ensure_ascii=False))


if __name__ == "__main__":
    if len(sys.argv) < 5:
        sys.exit(__doc__.strip())
    # Also where a script has started it in the background, whose shell ignores Ctrl-C for it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        print("stopped: what was not posted is in the outbox, for the next time", file=sys.stderr)
        sys.exit(130)
    except Refused as refused:
        sys.exit(f"the server refuses it: {refused}")
    except (OSError, ValueError) as error:
        sys.exit(f"the files of this client can't be used: {error}")
    except (KeyError, TypeError) as error:
        sys.exit(f"the server's answer is not one of natter: {error!r}")
