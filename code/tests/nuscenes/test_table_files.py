"""nuScenes tables as files: written in pieces, read as a stream, loaded as columns."""

import json

import numpy as np
import pytest

from pftrack.errors import UserError
from pftrack.nuscenes.table_files import iter_rows, write_tables
from pftrack.nuscenes.tables import read_columns
from pftrack.nuscenes.versions import find_version, info_file_name

ROWS = [{"token": f"{n:03d}", "timestamp": n, "translation": [n, 0.5, -1e-9]} for n in range(5)]


@pytest.mark.parametrize("indent", [None, 0])
def test_pieces_give_the_same_table_as_one(tmp_path, indent):
    pieces = [{"a": [], "b": ROWS[:1]}, {"a": ROWS[:2]}, {"b": ROWS[1:], "a": ROWS[2:]}]
    write_tables(tmp_path / "pieces", pieces, indent)
    write_tables(tmp_path / "one", [{"a": ROWS, "b": ROWS}], indent)
    for name in ("a", "b"):
        text = (tmp_path / "one" / f"{name}.json").read_text()
        assert json.loads(text) == list(iter_rows(tmp_path / "pieces" / f"{name}.json")) == ROWS
        if indent == 0:  # the bytes of a generated dataset are part of its promise
            assert text == json.dumps(ROWS, indent=0)
            assert text == (tmp_path / "pieces" / f"{name}.json").read_text()


def test_a_table_without_rows(tmp_path):
    write_tables(tmp_path, [{"map": []}])
    assert (tmp_path / "map.json").read_text() == "[]"
    columns = read_columns(tmp_path, "map", ("token", "timestamp", "translation", "name"))
    assert {k: np.shape(v) for k, v in columns.items()} == {
        "token": (0,), "timestamp": (0,), "translation": (0, 3), "name": (0,),
    }  # fmt: skip


def test_progress_counts_every_character(tmp_path):
    write_tables(tmp_path, [{"t": ROWS}])
    seen = []
    assert list(iter_rows(tmp_path / "t.json", seen.append)) == ROWS
    assert sum(seen) == (tmp_path / "t.json").stat().st_size


def test_columns_of_chosen_rows(tmp_path):
    write_tables(tmp_path, [{"t": ROWS}])
    found = read_columns(
        tmp_path, "t", ("token", "timestamp"), lambda row: row["timestamp"] % 2 == 1
    )
    assert found["token"].tolist() == [b"001", b"003"]
    assert found["timestamp"].tolist() == [1, 3]


@pytest.mark.parametrize(
    "text, message",
    [
        ('[{"token": "a"}, {"token"', "ends or breaks off in the middle"),
        ('[{"token": "a"} {"token": "b"}]', "ends or breaks off in the middle"),
        ('[{"name": "a"}]', "row 0: no column 'token'"),
        ('[{"token": "a"}, 3]', "row 1: not an object with columns"),
    ],
)
def test_a_damaged_table_is_named_with_the_place(tmp_path, text, message):
    (tmp_path / "scene.json").write_text(text)
    with pytest.raises(UserError, match=message) as error:
        read_columns(tmp_path, "scene", ("token",))
    assert "scene.json" in str(error.value)
    with pytest.raises(UserError, match=r"no table .*sample"):
        read_columns(tmp_path, "sample", ("token",))


def test_versions_and_their_files(tmp_path):
    assert find_version(tmp_path) is None
    for version in ("v1.0-mini", "v1.0-trainval"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "scene.json").write_text("[]")
        assert find_version(tmp_path) == version
    assert find_version(tmp_path, "v1.0-mini") == "v1.0-mini"
    assert find_version(tmp_path, "v1.0-test") is None
    assert info_file_name("v1.0-trainval", "val") == "tracking_forecasting_infos_val.pkl"
    assert info_file_name("v1.0-mini", "val") == "tracking_forecasting-mini_infos_val.pkl"
    assert info_file_name("v1.0-mini", "train", "x-mini") == "x-mini_infos_train.pkl"
