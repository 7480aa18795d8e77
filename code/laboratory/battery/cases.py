"""Cases: for every format, what may be wrong with it, and a command that reads it."""

from __future__ import annotations

import copy
import importlib
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from laboratory.battery.values import BAD, BYTES, spoil_bytes
from laboratory.battery.worker import Case
from laboratory.battery.world import MINI, World

Main = Callable[[], int | None]
Draw = tuple[str, Any, float]  # field, bad value, place in 0..1


def draws(strategy: st.SearchStrategy[Any], count: int, number: int) -> list[Any]:
    """``count`` values of a strategy, the same for the same number."""
    found: list[Any] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return [found[i % len(found)] for i in range(count)]


def fields(kinds: dict[str, str]) -> st.SearchStrategy[Draw]:
    """One of the fields, a bad value for it (or MISSING), a place."""
    value = st.sampled_from(sorted(kinds)).flatmap(
        lambda name: st.tuples(st.just(name), st.one_of(BAD[kinds[name]], st.just(MISSING)))
    )
    return st.tuples(value, st.floats(0, 0.999)).map(lambda t: (*t[0], t[1]))


MISSING = "<missing>"
OPTIONAL = ("evaluate", "at_least", "step_time", "published", "retrained", "clips_per_step")


def put(content: Any, path: str, value: Any) -> None:
    """Set or remove what a dotted path leads to; numbers are positions."""
    *above, last = path.split(".")
    for part in above:
        content = content[int(part)] if isinstance(content, list) else content[part]
    key: Any = int(last) if isinstance(content, list) else last
    if isinstance(value, str) and value == MISSING:
        del content[key]
    else:
        content[key] = value


def command(name: str, *arguments: object) -> tuple[Main, list[str]]:
    """A command's ``main`` and its arguments."""
    main = importlib.import_module(f"pftrack.commands.{name}").main
    return main, [str(argument) for argument in arguments]


def show(value: Any) -> str:
    return f"{value!r:.60}"


class Maker:
    """Makes the cases of every format on one world.

    Args:
        scale: how many, 1 for all.
    """

    def __init__(self, world: World, number: int, scale: float) -> None:
        self.world, self.number, self.scale = world, number, scale

    def all(self) -> list[Case]:
        groups = (
            *(self.results, self.detections, self.infos, self.tables, self.run_files),
            *(self.manifests, self.locks, self.records, self.histories, self.checkpoints),
            *(self.resumed, self.configurations, self.settings, self.command_lines),
            *(self.archives, self.images, self.shell, self.good),
        )
        return [case for group in groups for case in group()]

    def _draws(self, strategy: st.SearchStrategy[Any], count: int, salt: int) -> list[Any]:
        return draws(strategy, max(2, round(count * self.scale)), self.number * 100 + salt)

    # --- JSON files that are read as a whole or as a stream ---------------------------------------

    def _texts(
        self, form: str, data: bytes, count: int, use: Callable[[Path, Path], Any], salt: int
    ) -> Iterator[Case]:
        """A file of text that is none, torn or of another kind; ``use(file, folder)`` reads it."""
        for how, at in self._draws(
            st.tuples(st.sampled_from(BYTES), st.floats(0, 0.999)), count, salt
        ):

            def run(folder: Path, how: str = how, at: float = at) -> tuple[Main, list[str]]:
                file = folder / "in" / f"{form}.json"
                spoiled = spoil_bytes(how, data, at)
                if spoiled is None:
                    file.mkdir(parents=True)
                else:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(spoiled)
                return use(file, folder)

            yield Case(form, f"{how} at {at:.2f}", run)

    def _spoiled(
        self,
        form: str,
        content: Callable[[], Any],
        kinds: dict[str, str],
        count: int,
        use: Callable[[Path, Path], Any],
        salt: int,
        place: Callable[[Any, str, float], str] = lambda _content, name, _at: name,
    ) -> Iterator[Case]:
        """A JSON file with one bad value; ``place`` makes a path of a field and a number."""
        for name, value, at in self._draws(fields(kinds), count, salt):

            def run(
                folder: Path, name: str = name, value: Any = value, at: float = at
            ) -> tuple[Main, list[str]]:
                spoiled = copy.deepcopy(content())
                put(spoiled, place(spoiled, name, at), value)
                file = folder / "in" / f"{form}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(spoiled))
                return use(file, folder)

            yield Case(form, f"{name} = {show(value)}", run)

    def _evaluate(self, file: Path, folder: Path) -> tuple[Main, list[str]]:
        data = ("--dataroot", self.world.data, "--version", MINI, "--split", "mini_val")
        return command("evaluate", file, *data, "--out", folder / "out")

    def _report(self, file: Path, folder: Path) -> tuple[Main, list[str]]:
        data = ("--dataroot", self.world.data, "--version", MINI, "--split", "mini_val")
        return command("report", file, *data, "--out", folder / "out")

    def _video(self, file: Path, folder: Path) -> tuple[Main, list[str]]:
        data = ("--dataroot", self.world.data, "--infos", self.world.val_infos)
        return command(
            "make_video", file, *data, "--out", folder / "out", "--frames", 1, "--no-lidar",
            "--format", "png",
        )  # fmt: skip

    @staticmethod
    def _box(content: Any, name: str, at: float) -> str:
        """A field of some box of some sample."""
        if name.startswith(("meta", "results")):
            return name
        samples = [token for token, boxes in content["results"].items() if boxes]
        token = samples[int(at * len(samples))]
        boxes = content["results"][token]
        return f"results.{token}.{int(at * 7919) % len(boxes)}.{name}"

    def results(self) -> Iterator[Case]:
        kinds = {
            "translation": "vec3", "size": "size", "rotation": "quaternion", "velocity": "vec2",
            "tracking_score": "score", "tracking_name": "class", "tracking_id": "identity",
            "meta": "dict", "results": "dict",
        }  # fmt: skip
        uses = (self._evaluate, self._report, self._video)
        data = self.world.results.read_bytes()
        for n, use in enumerate(uses):
            own = {
                k: v
                for k, v in kinds.items()
                if use != self._video or k not in ("meta", "velocity")
            }
            yield from self._spoiled(
                "results", lambda: self.world.result_content, own, 90 - 30 * n, use, n, self._box
            )
            yield from self._texts("results", data, 12, use, 10 + n)
        yield from self._odd_results()

    def _odd_results(self) -> Iterator[Case]:
        def sample(content: Any) -> str:
            return next(t for t, boxes in content["results"].items() if boxes)

        def twice(content: Any) -> None:
            boxes = content["results"][sample(content)]
            boxes.append(dict(boxes[0]))

        def unknown(content: Any) -> None:
            content["results"]["f" * 32] = []

        def lacking(content: Any) -> None:
            del content["results"][sample(content)]

        def many(content: Any) -> None:
            boxes = content["results"][sample(content)]
            content["results"][sample(content)] = [
                dict(boxes[0], tracking_id=str(i)) for i in range(501)
            ]

        def other(content: Any) -> None:
            content["results"][sample(content)][0]["sample_token"] = "e" * 32

        def forecasts(content: Any) -> None:
            for box in content["results"][sample(content)]:
                box["forecasting"] = [[0.0, float("nan")]]

        def no_list(content: Any) -> None:
            content["results"][sample(content)] = {"0": {}}

        for change in (twice, unknown, lacking, many, other, forecasts, no_list):

            def run(folder: Path, change: Callable[[Any], None] = change) -> tuple[Main, list[str]]:
                content = copy.deepcopy(self.world.result_content)
                change(content)
                file = folder / "results.json"
                file.write_text(json.dumps(content))
                return self._evaluate(file, folder)

            yield Case("results", change.__name__, run)

    def detections(self) -> Iterator[Case]:
        kinds = {
            "translation": "vec3", "size": "size", "rotation": "quaternion", "velocity": "vec2",
            "detection_score": "score", "detection_name": "class", "results": "dict",
        }  # fmt: skip
        yield from self._spoiled(
            "detections",
            lambda: self.world.detection_content,
            kinds,
            40,
            self._evaluate,
            20,
            self._box,
        )

    def run_files(self) -> Iterator[Case]:
        kinds = {
            "job": "dict", "job.config": "text", "job.checkpoint": "text", "devices": "dict",
            "frames": "count", "wall_seconds": "positive", "seconds": "text", "version": "text",
            "data_root": "text", "result_path": "text",
        }  # fmt: skip

        def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
            result = file.with_name("results_nusc.json")
            result.symlink_to(self.world.results)
            if file.name != "run.json":
                file.rename(file.with_name("run.json"))
            return command("report", result, "--out", folder / "out")

        yield from self._spoiled("run", lambda: self.world.run_content, kinds, 50, use, 30)
        text = json.dumps(self.world.run_content).encode()
        yield from self._texts("run", text, 10, use, 31)

    # --- the package's own lists ------------------------------------------------------------------

    def manifests(self) -> Iterator[Case]:
        from pftrack.checkpoints.manifest import MANIFEST

        kinds = {
            "base_url": "text", "license": "text", "files": "dict", "files.0": "dict",
            "files.0.name": "text", "files.0.path": "text", "files.0.archive": "text",
            "files.0.members": "dict", "files.1.kind": "text", "files.2.published": "list",
            "files.0.verified": "bool", "files.0.members.0": "text",
        }  # fmt: skip

        def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
            return command("download_checkpoints", "--manifest", file, "--list")

        def place(content: Any, name: str, at: float) -> str:
            return name

        optional = {"files.0.verified", "files.2.published", "files.0", "files.0.members.0"}
        data = MANIFEST.read_bytes()
        cases = self._spoiled("manifest", lambda: json.loads(data), kinds, 40, use, 40, place)
        yield from (c for c in cases if c.name not in {f"{n} = {MISSING!r}" for n in optional})
        yield from self._texts("manifest", data, 10, use, 41)
        for path in ("../x.pth", "/etc/x.pth", "a/../../x", "", "a\\..\\x", "C:/x", "a\0b"):

            def run(folder: Path, path: str = path) -> tuple[Main, list[str]]:
                content = json.loads(data)
                content["files"][0]["path"] = path
                (folder / "m.json").write_text(json.dumps(content))
                return use(folder / "m.json", folder)

            yield Case("manifest", f"path {path!r}", run)

    def locks(self) -> Iterator[Case]:
        content = {
            "a.pth": {"size": 3, "sha256": "0" * 64},
            "b.zip": {"size": 4, "sha256": "1" * 64},
        }
        kinds = {
            "a.pth": "dict", "a.pth.size": "count", "b.zip.sha256": "token",
        }  # fmt: skip

        def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
            store = folder / "in"
            if file.name != "manifest.lock.json":
                file.rename(store / "manifest.lock.json")
            return command("download_checkpoints", "--to", store, "--mirror", folder / "in")

        def place(content: Any, name: str, _at: float) -> str:
            return name

        for name, value, _at in self._draws(fields(kinds), 30, 45):

            def run(folder: Path, name: str = name, value: Any = value) -> tuple[Main, list[str]]:
                spoiled = copy.deepcopy(content)
                key, _, field = name.rpartition(".") if name.count(".") > 1 else (name, "", "")
                if value == MISSING:
                    value = None
                if field:
                    spoiled[key][field] = value
                else:
                    spoiled[name] = value
                (folder / "in").mkdir()
                file = folder / "in" / "manifest.lock.json"
                file.write_text(json.dumps(spoiled))
                return use(file, folder)

            yield Case("lock", f"{name} = {show(value)}", run)
        yield from self._texts("lock", json.dumps(content).encode(), 8, use, 46)

    def records(self) -> Iterator[Case]:
        from pftrack.paths import RETRAINING_RECORD

        data = RETRAINING_RECORD.read_bytes()
        content = json.loads(data)
        stage = "stages.0"
        kinds = {"version": "text", "stages": "dict", stage: "list"}
        kinds |= {f"{stage}.{k}": _kind(v) for k, v in content["stages"][0].items()}

        def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
            return command(
                "retrain", "--record", file, "--plan", "--work-dir", folder / "out", "--gpus", 0
            )

        def place(content: Any, name: str, at: float) -> str:
            return name

        # What a record may leave out, and a stage of it.
        optional = {name for name in kinds if name.rpartition(".")[2] in (*OPTIONAL, "0")}
        cases = self._spoiled("record", lambda: content, kinds, 50, use, 50, place)
        yield from (
            case
            for case in cases
            if not any(case.name.startswith(f"{name} = {MISSING!r}") for name in optional)
            and not case.name.endswith("= None")
        )
        yield from self._texts("record", data, 10, use, 51)

    def histories(self) -> Iterator[Case]:
        from pftrack.training.evaluation import EvaluationHistory
        from pftrack.training.settings import EvaluationSettings

        content = {"1": {"amota": 0.2, "amotp": 1.5}, "2": {"amota": 0.3}}
        kinds = {"1": "dict", "2.amota": "number"}

        def use(file: Path, folder: Path) -> tuple[Main, list[str]]:
            if file.name != "evaluations.json":
                file.rename(file.with_name("evaluations.json"))
            history = EvaluationHistory(file.parent, EvaluationSettings(interval=1))
            return lambda: int(history.add(3, {"amota": 0.4})) * 0, []

        cases = self._spoiled("history", lambda: content, kinds, 16, use, 55)
        # NaN is what a metric may be; no list of metrics is as good as an empty one.
        finite = (c for c in cases if not any(w in c.name for w in (MISSING, "nan", "inf", "{}")))
        yield from finite
        yield from self._texts("history", json.dumps(content).encode(), 8, use, 56)

    # --- info files and tables --------------------------------------------------------------------

    def _dry_run(self, folder: Path, *more: object, infos: Path | None = None) -> Any:
        options = list(self.world.data_options)
        if infos is not None:
            options.append(f"data.train.ann_file={infos}")
        return command(
            "train", self.world.config, "--work-dir", folder / "out" / "run", "--device", "cpu",
            "--no-validate", "--dry-run", *more, "--cfg-options", *options,
        )  # fmt: skip

    def infos(self) -> Iterator[Case]:
        kinds = {
            "token": "token", "scene_token": "text", "timestamp": "positive", "cams": "dict",
            "lidar2ego_rotation": "quaternion", "lidar2ego_translation": "vec3",
            "ego2global_rotation": "quaternion", "ego2global_translation": "vec3",
            "cams.CAM_BACK": "dict", "cams.CAM_FRONT.data_path": "text",
            "cams.CAM_FRONT.sensor2ego_rotation": "quaternion",
            "cams.CAM_FRONT.sensor2ego_translation": "vec3",
            "cams.CAM_FRONT.sensor2lidar_rotation": "vec3",
            "cams.CAM_FRONT.cam_intrinsic": "vec3",
            "gt_boxes": "vec3", "gt_names": "dict", "gt_velocity": "vec3", "valid_flag": "vec3",
            "instance_inds": "dict", "forecasting_locs": "vec3", "forecasting_masks": "vec3",
        }  # fmt: skip
        for name, value, at in self._draws(fields(kinds), 150, 60):
            if name == "token" and value in ("unknown", "../x", "0" * 32):
                continue  # any text is a token
            if name == "cams.CAM_BACK" and isinstance(value, str) and value == MISSING:
                continue  # a camera may drop out

            def run(
                folder: Path, name: str = name, value: Any = value, at: float = at
            ) -> tuple[Main, list[str]]:
                content = copy.deepcopy(self.world.info_content)
                number = int(at * len(content["infos"]))
                put(content["infos"][number], name, value)
                file = folder / "infos.pkl"
                file.write_bytes(pickle.dumps(content, protocol=4))
                return self._dry_run(folder, infos=file)

            yield Case("infos", f"{name} = {show(value)}", run)
        yield from self._pickles("infos", self.world.infos.read_bytes(), self._use_infos, 80, 61)

    def _use_infos(self, file: Path, folder: Path) -> tuple[Main, list[str]]:
        return self._dry_run(folder, infos=file)

    def _pickles(
        self, form: str, data: bytes, use: Callable[[Path, Path], Any], count: int, salt: int
    ) -> Iterator[Case]:
        """Hostile pickles, and an honest one with a torn end or garbage."""
        yield from self._texts(form, data, max(2, count // 5), use, salt)
        for text, builder in self._draws(_hostile(), count, salt + 1):

            def run(
                folder: Path, builder: Callable[[str], bytes] = builder
            ) -> tuple[Main, list[str]]:
                file = folder / "evil.pkl"
                file.write_bytes(builder(str(folder / "mark")))
                return use(file, folder)

            yield Case(form, text, run)

    def tables(self) -> Iterator[Case]:
        kinds = {
            "scene.token": "text", "scene.name": "text",
            "sample.token": "text", "sample.scene_token": "token", "sample.timestamp": "positive",
            "sensor.channel": "text", "calibrated_sensor.sensor_token": "token",
            "calibrated_sensor.translation": "vec3", "calibrated_sensor.rotation": "quaternion",
            "ego_pose.translation": "vec3", "ego_pose.rotation": "quaternion",
            "sample_data.sample_token": "token", "sample_data.ego_pose_token": "token",
            "sample_data.calibrated_sensor_token": "token", "sample_data.filename": "text",
            "category.name": "text", "instance.category_token": "token",
            "sample_annotation.sample_token": "token", "sample_annotation.instance_token": "token",
            "sample_annotation.translation": "vec3", "sample_annotation.size": "size",
            "sample_annotation.rotation": "quaternion", "sample_annotation.num_lidar_pts": "count",
        }  # fmt: skip
        for name, value, at in self._draws(fields(kinds), 130, 70):

            def run(
                folder: Path, name: str = name, value: Any = value, at: float = at
            ) -> tuple[Main, list[str]]:
                table, field = name.split(".")
                rows = copy.deepcopy(self.world.table_content[table])
                number = self._read_row(table, at)
                put(rows[number], field, value)
                return self._convert(folder, table, json.dumps(rows).encode())

            yield Case("tables", f"{name} = {show(value)}", run)
        for name in ("sample", "sample_data", "sample_annotation", "ego_pose"):
            data = (self.world.data / MINI / f"{name}.json").read_bytes()

            def use(file: Path, folder: Path, name: str = name) -> tuple[Main, list[str]]:
                spoiled = None if file.is_dir() else file.read_bytes()
                return self._convert(folder, name, spoiled)

            yield from self._texts("tables", data, 8, use, 71)
        yield from self._odd_tables()

    def _read_row(self, table: str, at: float) -> int:
        """A row that the converter reads: of sample_data, key frames."""
        rows = self.world.table_content[table]
        if table != "sample_data":
            return int(at * len(rows))
        keys = [
            n
            for n, row in enumerate(rows)
            if row["is_key_frame"] and "CAM" in row["filename"].split("/")[1]
        ]
        return keys[int(at * len(keys))]

    def _odd_tables(self) -> Iterator[Case]:
        def twice(rows: list[dict[str, Any]]) -> None:
            rows.append(dict(rows[0]))

        def own_next(rows: list[dict[str, Any]]) -> None:
            rows[0]["next"] = rows[0]["token"]

        def own_previous(rows: list[dict[str, Any]]) -> None:
            rows[0]["prev"] = rows[0]["token"]

        def none(rows: list[dict[str, Any]]) -> None:
            rows.clear()

        def no_rows(rows: list[Any]) -> None:
            rows[0] = ["a", "list"]

        for table, change in (
            *((name, twice) for name in ("scene", "sample", "sample_data", "sample_annotation")),
            ("sample_annotation", own_next),
            ("sample_annotation", own_previous),
            *((name, none) for name in ("scene", "sample", "sample_data", "sensor", "ego_pose")),
            *((name, no_rows) for name in ("scene", "sample", "instance", "category")),
        ):

            def run(
                folder: Path, table: str = table, change: Callable[[Any], None] = change
            ) -> tuple[Main, list[str]]:
                rows = copy.deepcopy(self.world.table_content[table])
                change(rows)
                return self._convert(folder, table, json.dumps(rows).encode())

            yield Case("tables", f"{table}: {change.__name__}", run)

    def _convert(self, folder: Path, table: str, data: bytes | None) -> tuple[Main, list[str]]:
        """The converter on the world's data with another table."""
        root = folder / "nuscenes"
        (root / MINI).mkdir(parents=True)
        (root / "samples").symlink_to(self.world.data / "samples")
        for source in (self.world.data / MINI).iterdir():
            if source.stem != table:
                (root / MINI / source.name).symlink_to(source)
            elif data is None:
                (root / MINI / source.name).mkdir()
            else:
                (root / MINI / source.name).write_bytes(data)
        return command(
            "create_data", "nuscenes-tracking", "--root-path", root, "--out-dir", folder / "out",
            "--version", MINI, "--forecasting", "--workers", 0,
        )  # fmt: skip

    # --- checkpoints ------------------------------------------------------------------------------

    def checkpoints(self) -> Iterator[Case]:
        data = self.world.checkpoint.read_bytes()
        uses: list[Callable[[Path, Path], Any]] = [
            lambda file, folder: command("inspect_checkpoint", file, "--config", self.world.config),
            lambda file, folder: self._dry_run(folder, "--load-from", file),
            lambda file, folder: self._dry_run(folder, "--resume-from", file),
        ]
        for n, use in enumerate(uses):
            yield from self._pickles("checkpoint", data, use, 25, 80 + 3 * n)
            for at, bit in self._draws(
                st.tuples(st.floats(0.01, 0.97), st.integers(0, 7)), 15, 90 + n
            ):

                def run(
                    folder: Path,
                    at: float = at,
                    bit: int = bit,
                    use: Callable[[Path, Path], Any] = use,
                ) -> tuple[Main, list[str]]:
                    flipped = bytearray(data)
                    flipped[_in_a_member(data, at)] ^= 1 << bit
                    (folder / "flipped.pth").write_bytes(flipped)
                    return use(folder / "flipped.pth", folder)

                yield Case("checkpoint", f"bit {bit} at {at:.4f}", run)
        yield from self._hostile_zips(data, uses)

    def _hostile_zips(self, data: bytes, uses: list[Any]) -> Iterator[Case]:
        for (text, builder), which in self._draws(
            st.tuples(_hostile(), st.sampled_from(range(len(uses)))), 30, 95
        ):

            def run(
                folder: Path,
                builder: Callable[[str], bytes] = builder,
                use: Callable[[Path, Path], Any] = uses[which],
            ) -> tuple[Main, list[str]]:
                file = folder / "evil.pth"
                with zipfile.ZipFile(file, "w") as archive:
                    archive.writestr("x/data.pkl", builder(str(folder / "mark")))
                    archive.writestr("x/version", "3\n")
                return use(file, folder)

            yield Case("checkpoint", f"zip: {text}", run)

    def resumed(self) -> Iterator[Case]:
        kinds = {
            "optimizer": "dict", "optimizer.state": "text", "optimizer.param_groups": "dict",
            "resume.epoch": "count", "resume.batch": "count", "resume.iters_per_epoch": "positive",
            "resume.rng": "dict", "resume.scaler": "text", "meta": "dict", "meta.epoch": "count",
            "resume.seed": "text", "resume.skipped_in_row": "count", "state_dict": "dict",
        }  # fmt: skip
        for name, value, _at in self._draws(fields(kinds), 40, 100):
            if name in ("resume.seed",) and value == 7:
                continue

            def run(folder: Path, name: str = name, value: Any = value) -> tuple[Main, list[str]]:
                import torch

                content = torch.load(self.world.checkpoint, weights_only=True)
                put(content, name, value)
                torch.save(content, folder / "spoiled.pth")
                return self._dry_run(folder, "--resume-from", folder / "spoiled.pth")

            yield Case("resume", f"{name} = {show(value)}", run)
        tensors = st.tuples(
            st.sampled_from(["exp_avg", "exp_avg_sq", "step", "weight"]),
            st.sampled_from(["shape", "type", "nan", "none", "negative", "scalar"]),
            st.floats(0, 0.999),
        )
        for key, how, at in self._draws(tensors, 30, 101):
            if (key == "step" and how in ("type", "shape", "scalar")) or (
                how == "negative" and key in ("weight", "exp_avg")
            ):
                continue  # no mistake

            def run_tensor(
                folder: Path, key: str = key, how: str = how, at: float = at
            ) -> tuple[Main, list[str]]:
                import torch

                content = torch.load(self.world.checkpoint, weights_only=True)
                if key == "weight":
                    table: Any = content["state_dict"]
                    floats = [
                        n for n, v in table.items() if v.is_floating_point() and v.numel() > 4
                    ]
                    key = floats[int(at * len(floats))]
                else:
                    states = content["optimizer"]["state"]
                    table = states[list(states)[int(at * len(states))]]
                value = table[key]
                table[key] = {
                    "shape": value.reshape(-1)[:1].clone() if value.ndim else value.reshape(1, 1),
                    "type": value.to(torch.int64).clone()
                    if key in ("exp_avg", "exp_avg_sq")
                    else "x",
                    "nan": torch.full_like(value, float("nan")),
                    "none": None,
                    "negative": torch.full_like(value, -1.0),
                    "scalar": torch.tensor(0.0),
                }[how]
                torch.save(content, folder / "spoiled.pth")
                return self._dry_run(folder, "--resume-from", folder / "spoiled.pth")

            yield Case("resume", f"{key} {how} at {at:.3f}", run_tensor)

    # --- configurations ---------------------------------------------------------------------------

    def configurations(self) -> Iterator[Case]:
        texts = {
            "syntax": "model = dict(",
            "name": "model = dict(a=b)",
            "missing base": "_base_ = ['./none.py']",
            "base of itself": "_base_ = ['./config.py']",
            "no text": "\\xff",
            "division": "x = 1 / 0",
            "empty": "",
            "no optimiser": "model = dict(type='X')",
            "a list": "[1, 2, 3]",
            "exit": "raise SystemExit(0)",
            "model of a text": f"_base_ = ['{self.world.config}']\nmodel = 'tracker'",
            "data of a list": f"_base_ = ['{self.world.config}']\ndata = [1]",
            "unknown head": f"_base_ = ['{self.world.config}']\n"
            "model = dict(pts_bbox_head=dict(type='Nothing'))",
            "unknown data set": f"_base_ = ['{self.world.config}']\n"
            "data = dict(train=dict(type='Nothing'))",
            "wrong plugin": f"_base_ = ['{self.world.config}']\nplugin = True\nplugin_dir = 'x/'",
            "wrong import": f"_base_ = ['{self.world.config}']\n"
            "custom_imports = dict(imports=['nothing_of_that_name'])",
            "imports of a number": f"_base_ = ['{self.world.config}']\ncustom_imports = 7",
        }
        for name, text in texts.items():

            def run(folder: Path, text: str = text) -> tuple[Main, list[str]]:
                (folder / "config.py").write_text(text)
                return command(
                    "train", folder / "config.py", "--work-dir", folder / "out" / "run",
                    "--device", "cpu", "--dry-run",
                )  # fmt: skip

            yield Case("config", name, run)

    def settings(self) -> Iterator[Case]:
        kinds = {
            "optimizer": "list", "optimizer.lr": "positive", "optimizer.type": "class",
            "optimizer.weight_decay": "count", "runner.max_epochs": "positive", "lr_config": "list",
            "lr_config.policy": "class", "lr_config.warmup_iters": "count",
            "lr_config.min_lr_ratio": "score", "data.samples_per_gpu": "positive",
            "data.workers_per_gpu": "count", "data": "list", "data.train": "list",
            "data.train.classes": "class", "data.train.ida_aug_conf": "list",
            "data.train.num_frames_per_sample": "positive", "model": "list",
            "model.num_classes": "count", "model.num_query": "positive",
            "model.img_backbone": "list", "model.img_backbone.spec_name": "class",
            "model.img_neck.in_channels": "vec2",
            "model.pts_bbox_head.bbox_coder.max_num": "positive",
            "model.pts_bbox_head.bbox_coder.pc_range": "vec3", "model.embed_dims": "positive",
            "log_config.interval": "positive", "log_config.hooks": "dict",
            "evaluation.interval": "count",
            "checkpoint_config.interval": "positive", "seed": "count", "nan_guard.action": "class",
            "precision": "class", "custom_hooks": "dict",
            "data.train.point_cloud_range": "vec3",
            "model.runtime_tracker.score_threshold": "number",
            "model.runtime_tracker": "text", "model.loss": "text",
        }  # fmt: skip
        for name, value, _at in self._draws(fields(kinds), 170, 110):
            if isinstance(value, str) and value == MISSING:
                continue
            if value is None or value in ("", "1", [], {}):
                continue  # nothing is stated; or a number after all, as overrides are read

            def run(folder: Path, name: str = name, value: Any = value) -> tuple[Main, list[str]]:
                text = value if isinstance(value, str) else repr(value)
                text = text.replace("nan", "'nan'").replace("inf", "'inf'")
                main, arguments = self._dry_run(folder)
                return main, [*arguments, f"{name}={text}"]

            yield Case("settings", f"{name}={show(value)}", run)

    # --- command lines ----------------------------------------------------------------------------

    def command_lines(self) -> Iterator[Case]:
        from pftrack.commands.cli import COMMANDS

        names = [
            m.rpartition(".")[2] for m in COMMANDS.values() if m.startswith("pftrack.commands")
        ]
        words = st.sampled_from(
            ["--nothing", "-q", "none.pth", "none.json", "none.py", "--gpus=-1", "--gpus=x",
             "--split=nothing", "--version=v9", "--scenes=-1", "--workers=-3", "--device=tpu",
             "--work-dir=", "--out=/dev/null/x", "--frames=0", "--fps=nan", "\udcff", "a\nb", "/",
             "--cfg-options=x", "--only=nothing", "--manifest=/nothing", "--seed=x", "'",
             "$(touch mark)"]
        )  # fmt: skip
        for name, arguments in self._draws(
            st.tuples(st.sampled_from(sorted(set(names))), st.lists(words, min_size=1, max_size=3)),
            110,
            120,
        ):
            if name in ("demo", "download_checkpoints") and not any(
                a.startswith("--") and ("nothing" in a or "-1" in a or "x" in a) for a in arguments
            ):
                continue

            def run(
                folder: Path, name: str = name, arguments: list[str] = arguments
            ) -> tuple[Main, list[str]]:
                os.chdir(folder)
                return command(name, *arguments)

            yield Case("command line", f"{name} {arguments}", run)

    # --- archives and images ----------------------------------------------------------------------

    def archives(self) -> Iterator[Case]:
        manifest = {
            "base_url": "https://example.invalid/",
            "license": "none",
            "files": [
                {"name": "a", "path": "a/a.pth", "archive": "a.zip", "members": ["a.pth"],
                 "kind": "tracker"}
            ],
        }  # fmt: skip
        builders = {
            "no archive": lambda p: p.write_bytes(b"PK nothing"),
            "empty": lambda p: p.write_bytes(b""),
            "page": lambda p: p.write_bytes(b"<html>404</html>"),
            "outside": lambda p: _zip(p, {"../../a.pth": b"x"}),
            "absolute": lambda p: _zip(p, {"/tmp/battery_a.pth": b"x"}),
            "other members": lambda p: _zip(p, {"b.pth": b"x"}),
            "bomb": lambda p: _zip(p, {"a.pth": b"\0" * (200 << 20)}, zipfile.ZIP_DEFLATED),
            "many bombs": lambda p: _zip(
                p, {f"a{i}/a.pth": b"\0" * (4 << 20) for i in range(90)}, zipfile.ZIP_DEFLATED
            ),
            "torn": _torn_zip,
            "link": _zip_link,
        }
        for name, build in builders.items():

            def run(folder: Path, build: Callable[[Path], Any] = build) -> tuple[Main, list[str]]:
                (folder / "mirror").mkdir()
                build(folder / "mirror" / "a.zip")
                (folder / "m.json").write_text(json.dumps(manifest))
                return command(
                    "download_checkpoints", "--manifest", folder / "m.json", "--to", folder / "out",
                    "--mirror", folder / "mirror",
                )  # fmt: skip

            yield Case("archive", name, run)

    def images(self) -> Iterator[Case]:
        source = next((self.world.data / "samples" / "CAM_FRONT").glob("*.jpg"))
        data = source.read_bytes()
        huge = bytearray(data)
        at = huge.index(b"\xff\xc0") + 5
        huge[at : at + 4] = struct.pack(">HH", 65000, 65000)
        spoiled = {
            "huge": bytes(huge),
            "torn": data[: len(data) // 2],
            "empty": b"",
            "text": b"no image",
            "a png's head": b"\x89PNG\r\n\x1a\n" + b"\0" * 30,
            "missing": None,
        }
        for name, content in spoiled.items():

            def run(folder: Path, content: bytes | None = content) -> tuple[Main, list[str]]:
                root = folder / "nuscenes"
                for camera in (self.world.data / "samples").iterdir():
                    target = root / "samples" / camera.name
                    target.mkdir(parents=True)
                    for image in camera.iterdir():
                        if camera.name == "CAM_FRONT":
                            if content is not None:
                                (target / image.name).write_bytes(content)
                        else:
                            (target / image.name).symlink_to(image)
                (root / MINI).symlink_to(self.world.data / MINI)
                return command(
                    "make_video", self.world.results, "--dataroot", root,
                    "--infos", self.world.val_infos,
                    "--out", folder / "out", "--frames", 1, "--no-lidar",
                )  # fmt: skip

            yield Case("image", name, run)

    # --- make -------------------------------------------------------------------------------------

    def shell(self) -> Iterator[Case]:
        from laboratory.battery.make_values import make_cases

        yield from make_cases(self._draws)

    # --- what must not be refused -----------------------------------------------------------------

    def good(self) -> Iterator[Case]:
        yield Case("good", "evaluate", lambda f: self._evaluate(self.world.results, f), good=True)
        yield Case(
            "good", "detections", lambda f: self._evaluate(self.world.detections, f), good=True
        )
        yield Case("good", "report", lambda f: self._report(self.world.results, f), good=True)
        yield Case("good", "video", lambda f: self._video(self.world.results, f), good=True)
        yield Case("good", "dry run", lambda f: self._dry_run(f), good=True)
        yield Case(
            "good",
            "resume",
            lambda f: self._dry_run(f, "--resume-from", self.world.checkpoint),
            good=True,
        )
        yield Case(
            "good",
            "inspect",
            lambda f: command(
                "inspect_checkpoint", self.world.checkpoint, "--config", self.world.config
            ),
            good=True,
        )
        table = (self.world.data / MINI / "scene.json").read_bytes()
        yield Case("good", "convert", lambda f: self._convert(f, "scene", table), good=True)


def _kind(value: Any) -> str:
    """The kind of bad values for a field that holds ``value``."""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "count"
    if isinstance(value, float):
        return "number"
    return "dict" if isinstance(value, dict) else "text"


def _in_a_member(data: bytes, at: float) -> int:
    """A byte of a zip's largest members: what a checksum covers."""
    import io

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [m for m in archive.infolist() if m.file_size > 1000]
        member = members[int(at * len(members))]
        start = member.header_offset + 30
        name, extra = struct.unpack(
            "<HH", data[member.header_offset + 26 : member.header_offset + 30]
        )
        return start + name + extra + int(at * 9973) % member.file_size


def _zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _torn_zip(path: Path) -> None:
    _zip(path, {"a.pth": b"x" * 10_000})
    path.write_bytes(path.read_bytes()[:5000])


def _zip_link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("a.pth")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")


def _hostile() -> st.SearchStrategy[tuple[str, Callable[[str], bytes]]]:
    """(name, bytes of a pickle by the path of a file that its code would make)"""

    def call(module: str, name: str, *arguments: str) -> Callable[[str], bytes]:
        def build(mark: str) -> bytes:
            text = b"".join(
                b"X" + struct.pack("<I", len(a.encode())) + a.encode()
                for a in (argument.replace("MARK", mark) for argument in arguments)
            )
            return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + text + b"tR."

        return build

    calls = [
        ("os", "system", "touch MARK"),
        ("posix", "system", "touch MARK"),
        ("subprocess", "getoutput", "touch MARK"),
        ("builtins", "eval", "open('MARK','w')"),
        ("builtins", "exec", "open('MARK','w')"),
        ("builtins", "open", "MARK", "w"),
        ("__builtin__", "eval", "open('MARK','w')"),
        ("torch", "save", "MARK"),
        ("torch.hub", "load", "MARK"),
        ("numpy", "load", "MARK"),
        ("numpy.core.multiarray", "scalar", "f8"),
        ("numpy", "dtype", "V9999999"),
        ("numpy", "ndarray", "3"),
        ("torch", "Tensor", "3"),
        ("torch._utils", "_rebuild_tensor_v2", "a", "b", "c", "d"),
        ("collections", "OrderedDict", "abc"),
        ("builtins", "getattr", "a", "upper"),
        ("pathlib", "Path", "MARK"),
        ("io", "open", "MARK", "w"),
        ("shutil", "rmtree", "MARK"),
        ("runpy", "run_path", "MARK"),
        ("importlib", "import_module", "antigravity"),
        ("pftrack.errors", "fail", "ran"),
        ("webbrowser", "open", "x"),
    ]
    named = [(f"{m}.{n}", call(m, n, *a)) for m, n, *a in calls]
    raw: list[tuple[str, Callable[[str], bytes]]] = [
        ("table of 2^28", lambda _m: b"\x80\x02Nr\xff\xff\xff\x0f."),
        ("table of 2^26", lambda _m: b"\x80\x02Nr\xff\xff\xff\x03."),
        ("a list within itself", lambda _m: b"\x80\x02]q\x00h\x00a."),
        ("deep", lambda _m: b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."),
        ("long bytes", lambda _m: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc."),
        ("laughing", lambda _m: pickle.dumps(_laughing(40), 4)),
        ("random", lambda m: b"\x80\x04" + random.Random(len(m)).randbytes(400)),
        ("instance", lambda m: f"(S'touch {m}'\nios\nsystem\n.".encode()),
    ]
    return st.sampled_from(named + raw)


def _laughing(levels: int) -> Any:
    value: Any = ["ha"]
    for _ in range(levels):
        value = [value, value]
    return {"infos": value, "metadata": {"version": MINI}}
