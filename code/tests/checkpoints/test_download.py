"""make checkpoints against a server that misbehaves."""

import json

import pytest
from download_server import (
    F3,
    MODELS,
    WEIGHTS,
    get,
    leftovers,
    make_store,
    make_zip,
    misbehaving_server,
    weights,
)

from pftrack.checkpoints.lock import LOCK_NAME
from pftrack.errors import UserError


@pytest.fixture
def server():
    with misbehaving_server() as httpd:
        yield httpd


def test_download_unpacks_records_and_verifies(tmp_path, server):
    (first,) = get(tmp_path, server)
    assert first.state == "recorded" and weights(tmp_path) == WEIGHTS
    assert set(json.loads((tmp_path / LOCK_NAME).read_text())) == {F3.path, F3.archive}
    (second,) = get(tmp_path, server)
    assert second.state == "present" and len(server.requests) == 1
    (tmp_path / F3.path).unlink()
    (third,) = get(tmp_path, server)
    assert third.state == "verified" and leftovers(tmp_path) == []


def test_dropped_connections_are_continued(tmp_path, server):
    server.drops = [100_000, 0, 100_000, 0, 0, 200_000]
    get(tmp_path, server)
    assert weights(tmp_path) == WEIGHTS
    asked = [r for _, r in server.requests]
    assert asked[0] is None and asked[1] == "bytes=100000-" and asked[3] == "bytes=200000-"
    assert asked[-1] == "bytes=400000-"


def test_a_later_run_continues(tmp_path, server):
    server.drops = [300_000] + [0] * 20
    with pytest.raises(UserError, match=r"cannot get PF-Track-Models.zip.*5 attempts in a row"):
        get(tmp_path, server)
    server.drops, server.requests = [], []
    get(tmp_path, server)
    assert weights(tmp_path) == WEIGHTS
    assert server.requests == [("/PF-Track-Models.zip", "bytes=300000-")]


@pytest.mark.parametrize(
    "fault",
    [
        "ignores ranges",
        "another range",
        "another size",
        "no content range",
        "bytes of another range",
    ],
)
def test_lies_about_ranges(tmp_path, server, fault):
    """The file starts over and is right, or there is no file at all."""
    server.fault, server.drops = fault, [150_000]
    get(tmp_path, server)
    assert weights(tmp_path) == WEIGHTS
    assert server.requests[1][1] == "bytes=150000-"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("fault", ["another range", "bytes of another range"])
def test_a_server_that_keeps_lying_gives_nothing(tmp_path, server, fault):
    server.fault, server.drops = fault, [150_000] * 50
    with pytest.raises(UserError, match="cannot get"):
        get(tmp_path, server)
    assert not (tmp_path / F3.path).exists()


def test_file_that_changes_while_it_is_received(tmp_path, server):
    """If-Range: the new file comes whole instead of being glued to the old one's first half."""
    server.drops, server.etags = [150_000], ['"one"', '"two"']
    get(tmp_path, server)
    assert weights(tmp_path) == WEIGHTS


def test_wrong_bytes_after_first_use(tmp_path, server):
    get(tmp_path, server)
    (tmp_path / F3.path).unlink()
    server.content["/PF-Track-Models.zip"] = make_zip({"f3_all/final.pth": b"other" + WEIGHTS})
    with pytest.raises(UserError, match="recorded are"):
        get(tmp_path, server)
    assert not (tmp_path / F3.path).exists() and leftovers(tmp_path) == []


def test_changed_file_on_disk_is_named(tmp_path, server):
    get(tmp_path, server)
    (tmp_path / F3.path).write_bytes(b"tampered")
    with pytest.raises(UserError, match=r"f3_all/final.pth.*recorded are.*delete"):
        get(tmp_path, server)


def test_fingerprint_in_the_manifest_beats_first_use(tmp_path, server):
    import dataclasses

    pinned = dataclasses.replace(F3, size=len(WEIGHTS), sha256="0" * 64)
    with pytest.raises(UserError, match="sha256 000000000000"):
        get(tmp_path, server, [pinned])


def test_error_page_instead_of_an_archive(tmp_path, server):
    server.content["/PF-Track-Models.zip"] = b"<html>Please log in</html>"
    with pytest.raises(UserError, match="not a zip file"):
        get(tmp_path, server)


def test_longer_than_announced(tmp_path, server):
    """A continued answer must not exceed the size announced before."""
    server.drops = [150_000] + [0] * 20
    with pytest.raises(UserError):
        get(tmp_path, server)
    server.drops, server.fault = [], "longer than announced"
    server.etags = ['"new"'] * 9  # answered whole, in chunks, with bytes appended
    get(tmp_path, server)  # zip files may have bytes behind them: the members are what counts
    assert weights(tmp_path) == WEIGHTS


def test_server_errors_are_retried_and_missing_files_are_not(tmp_path, server):
    server.statuses = [503, 500, 429]
    get(tmp_path, server)
    assert len(server.requests) == 4
    server.content, server.requests = {}, []
    with pytest.raises(UserError, match="HTTP 404"):
        get(tmp_path / "other", server)
    assert len(server.requests) == 1


def test_mirrors_are_tried_in_order(tmp_path, server):
    here = f"http://127.0.0.1:{server.server_port}"
    get(tmp_path, [str(tmp_path / "nowhere"), here + "/missing", here])
    assert weights(tmp_path) == WEIGHTS
    assert [path for path, _ in server.requests] == [
        "/missing/PF-Track-Models.zip",
        "/PF-Track-Models.zip",
    ]


def test_no_server(tmp_path):
    with pytest.raises(UserError, match="refused"):
        get(tmp_path, ["http://127.0.0.1:9"])


@pytest.mark.parametrize("loose", [False, True])
def test_offline_from_a_folder(tmp_path, loose):
    folder, target = tmp_path / "stick", tmp_path / "checkpoints"
    (folder / "f3_all").mkdir(parents=True)
    if loose:
        (folder / "f3_all/final.pth").write_bytes(WEIGHTS)
    else:
        (folder / "PF-Track-Models.zip").write_bytes(MODELS)
    (outcome,) = get(target, [str(folder)])
    assert outcome.state == "recorded" and weights(target) == WEIGHTS
    assert (folder / "PF-Track-Models.zip").exists() != loose


def test_two_downloads_at_once(tmp_path, server):
    store = make_store(tmp_path, server)
    with store._alone(), pytest.raises(UserError, match="another process works in"):
        get(tmp_path, server)


def test_interrupted_run_leaves_nothing_that_looks_finished(tmp_path, server):
    store = make_store(tmp_path, server)

    def interrupt(_):
        raise KeyboardInterrupt

    store.sleep, server.drops = interrupt, [150_000]
    with pytest.raises(KeyboardInterrupt):
        store.get([])
    assert not (tmp_path / F3.path).exists()
    get(tmp_path, server)
    assert server.requests[-1][1] == "bytes=150000-"
