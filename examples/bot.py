#!/usr/bin/env python3
"""A bot of natter in the Python standard library: it answers "ping", and counts for those who ask.

`natter member add --bot NAME` makes a bot and prints its token; the bot reads the conversations to which somebody has added it. It keeps
its cursor in a file, so that it misses nothing while it is away, and an answer has the client_id of its question, so that none comes twice.

    NATTER=https://chat.example.org TOKEN=nb_… bot.py CURSOR_FILE
"""
import hashlib
import http.client
import json
import os
import pathlib
import signal
import sys
import time
import urllib.request

BASE, TOKEN = os.environ.get("NATTER", "") + "/api/v1", os.environ.get("TOKEN")


def ask(method, path, body=None):
    """Until the server answers: what is asked here may be asked again. A proxy's page is no answer."""
    told, headers = None, {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    while True:
        request = urllib.request.Request(BASE + path, body and json.dumps(body).encode(), headers, method=method)
        try:
            try:
                response = urllib.request.urlopen(request, timeout=40)
            except urllib.error.HTTPError as error:
                response = error
            page = json.load(response)
            if not page.get("retry"):
                return page
            time.sleep((page.get("retry_after_ms") or 1000) / 1000)
        except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
            if told != (told := str(error)):
                print(f"no answer of natter from {BASE}, asking again: {told}", file=sys.stderr)
            time.sleep(1)


def must(page):
    if "data" not in page and page.get("code") != "cursor_reset":
        sys.exit(f"the server says {page.get('code')}: {page.get('title')}")
    return page


def client_id(question):
    """A ULID that is the same for each answer to this question."""
    number = int.from_bytes(hashlib.sha256(question.encode()).digest()[:16], "big")
    return "".join("0123456789ABCDEFGHJKMNPQRSTVWXYZ"[number >> shift & 31] for shift in range(125, -1, -5))


def answer(message, me):
    """What the bot says to a message, if anything. Not to itself, and not to what was deleted meanwhile."""
    if (words := (message["body"] or "").lower().split()) and message["sender"] != me and not message.get("kind"):
        return {"ping": "pong", "count": f"{len(words) - 1} words"}.get(words[0])


def main(path):
    me = must(ask("GET", "/user/me"))["data"]["profile"]["id"]
    cursor = pathlib.Path(path).read_text(encoding="utf-8") if os.path.exists(path) else must(ask("GET", "/events?cursor=now"))["cursor"]
    while True:
        pathlib.Path(path + ".new").write_text(cursor, encoding="utf-8")
        os.replace(path + ".new", path)
        page = must(ask("GET", f"/events?wait=30&cursor={cursor}"))
        # A `cursor_reset` has the cursor to go on with, and no events: those in between are not kept any more.
        for event in page.get("data", []):
            message = event["data"]
            if event["event"] == "message.posted" and (text := answer(message, me)):
                ask("POST", "/messages", {"conversation": message["conversation"], "reply_to": message["id"],
                                          "client_id": client_id(message["id"]), "body": text})
        cursor = page["cursor"]


if __name__ == "__main__":
    if len(sys.argv) != 2 or not TOKEN or not BASE.startswith("http"):
        sys.exit(__doc__.strip())
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    main(sys.argv[1])
