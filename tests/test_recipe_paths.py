from pathlib import Path

from mtl_nlp.recipe_paths import absolute_paths


def test_only_what_is_local_becomes_absolute(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    content = {
        "encoder": "encoder",
        "datasets": {
            "local": {
                "path": "json",
                "data_files": {"train": ["a.jsonl", "s3://b/c"], "test": "d"},
            },
            "hub": {"path": "org/name", "data_files": "data/*.parquet"},
            "folder": {"path": "./encoder", "data_files": "*.parquet"},
        },
        "tasks": {"t": {"metrics": ["mine", "./mine/mine.py", "rouge", "org/wer", "encoder"]}},
    }
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.py").touch()
    done = absolute_paths(content, tmp_path)
    assert done["encoder"] == str(tmp_path / "encoder")
    files = {"train": [str(tmp_path / "a.jsonl"), "s3://b/c"], "test": str(tmp_path / "d")}
    assert done["datasets"]["local"]["data_files"] == files
    assert done["datasets"]["folder"] == {
        "path": str(tmp_path / "encoder"),
        "data_files": "*.parquet",
    }
    assert done["datasets"]["hub"] == content["datasets"]["hub"]  # relative to that repository
    mine = str(tmp_path / "mine")
    assert done["tasks"]["t"]["metrics"] == [mine, f"{mine}/mine.py", "rouge", "org/wer", "encoder"]
    assert absolute_paths(done, Path("/elsewhere")) == done
    assert absolute_paths({"encoder": "org/name", "datasets": 3}, tmp_path)["encoder"] == "org/name"
