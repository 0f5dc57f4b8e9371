#!/usr/bin/env python3
"""A bot of natter in the Python standard library: it answers "ping", and counts for those who ask.

`natter member add --bot NAME` makes a bot and prints its token; the bot reads the conversations to which somebody has added it. It keeps
its cursor in a file, so that it misses nothing while it is away, and an answer has the client_id of its question, so that none comes twice.

    NATTER=https://chat.example.org TOKEN=nb_… bot.py CURSOR_FILE
"""
import hashlib
import json
import os
import sys
import time
import urllib.error
import urllib.request

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BASE, TOKEN = os.environ.get("NATTER", "") + "/api/v1", os.environ.get("TOKEN")


def ask(method, path, body=None):
    """Until the server answers: what is asked here may be asked again."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    while True:
        request = urllib.request.Request(BASE + path, body and json.dumps(body).encode(), headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=40) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            try:
                problem = json.load(error)
            except ValueError:  # a proxy, or another server
                problem = {"code": "no_json", "title": "this answer is not natter's", "retry": error.code in (502, 503, 504)}
            if not problem.get("retry"):
                return problem
            time.sleep((problem.get("retry_after_ms") or 1000) / 1000)
        except OSError:
            time.sleep(1)


def client_id(question):
    """A ULID that is the same for each answer to this question."""
    number = int.from_bytes(hashlib.sha256(question.encode()).digest()[:16], "big")
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def answer(message, me):
    """What the bot says to a message, if anything. Not to itself, and not to what was deleted meanwhile."""
    words = (message["body"] or "").lower().split()
    if message["sender"] == me or message.get("kind") or not words:
        return None
    if words[0] == "ping":
        return "pong"
    if words[0] == "count":
        return f"{len(words) - 1} words"
    return None


def main(path):
    me = ask("GET", "/user/me")
    if "data" not in me:
        sys.exit(f"the server says {me['code']}: {me['title']}")
    me = me["data"]["profile"]["id"]
    cursor = open(path, encoding="utf-8").read() if os.path.exists(path) else ask("GET", "/events?cursor=now")["cursor"]
    while True:
        page = ask("GET", f"/events?wait=30&cursor={cursor}")
        # A `cursor_reset` has the cursor to go on with, and no events: those in between are not kept any more.
        for event in page.get("data", []):
            message = event["data"]
            text = answer(message, me) if event["event"] == "message.posted" else None
            if text:
                ask("POST", "/messages", {"conversation": message["conversation"], "reply_to": message["id"],
                                          "client_id": client_id(message["id"]), "body": text})
        if page.get("code") not in (None, "cursor_reset"):
            sys.exit(f"the server says {page['code']}: {page['title']}")
        cursor = page["cursor"]
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(cursor)
        os.replace(path + ".new", path)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not TOKEN or not BASE.startswith("http"):
        sys.exit(__doc__.strip())
    try:
        main(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(130)
