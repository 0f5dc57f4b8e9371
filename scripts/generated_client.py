"""Uses natter by a client that openapi-python-client generated from openapi.json, against a running server: an account is made,
a message posted, a file uploaded and downloaded, everything exported. `scripts/validate-documents` generates it and runs this.

    generated_client.py BINARY OPENAPI      with `natter_client` in PYTHONPATH
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.parse

import natter_client.api
from natter_client import AuthenticatedClient, Client
from natter_client.api.accounts import account_export, account_sign_up
from natter_client.api.messages import message_list, message_post
from natter_client.api.profiles import profile_list
from natter_client.api.uploads import upload_create, upload_get
from natter_client.models import (
    AccountSignUpBody, ExportedMember, ExportedMessage, ExportedUpload, MessagePostBody, Problem,
)
from natter_client.types import File

NOTES = b"Notes of the first day.\n"
CLIENT_ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def every_operation_was_generated(openapi):
    folder = pathlib.Path(natter_client.api.__file__).parent
    made = {path.stem for path in folder.glob("*/*.py") if path.stem != "__init__"}
    paths = json.load(open(openapi, encoding="utf-8"))["paths"]
    wanted = {operation["operationId"].replace(".", "_") for methods in paths.values() for operation in methods.values()}
    assert made == wanted, f"dropped: {sorted(wanted - made)}, unknown: {sorted(made - wanted)}"
    return len(made)


def started(binary, folder):
    env = {"PORT": "0", "ARGON2": "1024,1,1"}
    process = subprocess.Popen([binary], cwd=folder, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log = []
    for line in process.stderr:
        log.append(line)
        found = re.search(r" listens on (http://[^, /]+)", line)
        if found:
            return process, found[1]
    raise AssertionError("no start: " + "".join(log))


def data_of(response, status=200):
    """The `data` of a response, which the client has parsed as the document says."""
    assert response.status_code == status, (response.status_code, response.content)
    assert response.parsed is not None and not isinstance(response.parsed, Problem), response
    return response.parsed.data


def sign_up(url, name):
    body = AccountSignUpBody(display_name=name, email=f"{name}@example.org", password="correct horse battery")
    made = data_of(account_sign_up.sync_detailed(client=Client(base_url=url), body=body), 201)
    assert made.profile.display_name == name, made
    return AuthenticatedClient(base_url=url, token=made.token.access), made


def exchange(url):
    ann, _ = sign_up(url, "ann")
    bob, bobs = sign_up(url, "bob")
    found = data_of(profile_list.sync_detailed(client=ann, query="bob"))
    assert [it.id for it in found] == [bobs.profile.id], found

    # Posted twice with one client_id: stored once.
    post = MessagePostBody(client_id=CLIENT_ID, to=bobs.profile.id, body="Hello Bob")
    first = data_of(message_post.sync_detailed(client=ann, body=post), 201)
    again = data_of(message_post.sync_detailed(client=ann, body=post), 200)
    assert (again.id, again.n) == (first.id, 1), again

    file = File(payload=NOTES, file_name="notes.txt")
    upload = data_of(upload_create.sync_detailed(client=ann, body=file, x_filename="notes.txt"), 201)
    assert (upload.name, upload.size) == ("notes.txt", len(NOTES)), upload
    post = MessagePostBody(client_id=CLIENT_ID[:-1] + "W", conversation=first.conversation, attachments=[upload.id])
    data_of(message_post.sync_detailed(client=ann, body=post), 201)
    read = data_of(message_list.sync_detailed(first.conversation, client=bob))
    assert [(it.n, it.body, len(it.attachments)) for it in read] == [(1, "Hello Bob", 0), (2, None, 1)], read

    # As the address of the file says, with its signature and nothing else; complete, and a part of it.
    target = urllib.parse.urlsplit(read[1].attachments[0].url)
    signed = dict(urllib.parse.parse_qsl(target.query))
    where = {"upload": upload.id, "name": target.path.rsplit("/", 1)[1], "client": Client(base_url=url)}
    where |= {"expires": int(signed["expires"]), "sig": signed["sig"]}
    complete = upload_get.sync_detailed(**where)
    assert (complete.status_code, complete.parsed.payload.read()) == (200, NOTES), complete
    part = upload_get.sync_detailed(**where, range_="bytes=0-4")
    assert (part.status_code, part.parsed.payload.read()) == (206, NOTES[:5]), part

    export = account_export.sync_detailed(client=ann)
    assert export.status_code == 200, export
    lines = [json.loads(line) for line in export.parsed.splitlines()]
    models = {"member": ExportedMember, "message": ExportedMessage, "upload": ExportedUpload}
    things = [models[line["kind"]].from_dict(line).data for line in lines if line["kind"] in models]
    kept = [(it.email if hasattr(it, "email") else it.id) for it in things]
    assert kept[0] == "ann@example.org" and {upload.id, first.id} < set(kept), kept

    refused = message_post.sync_detailed(client=ann, body=MessagePostBody(client_id=CLIENT_ID, to="nobody", body="x"))
    assert isinstance(refused.parsed, Problem) and refused.parsed.code == "invalid_to", refused


def main(binary, openapi):
    count = every_operation_was_generated(openapi)
    with tempfile.TemporaryDirectory() as folder:
        process, url = started(os.path.abspath(binary), folder)
        try:
            exchange(url)
        finally:
            process.terminate()
            process.wait(timeout=60)
    assert process.returncode == 0, process.returncode
    print(f"openapi-python-client has all {count} operations; its client posts, uploads, downloads and exports")


if __name__ == "__main__":
    main(*sys.argv[1:])
