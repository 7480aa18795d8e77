"""Cases: for every format, what may be wrong with it, and a command that reads it."""

from laboratory.battery.cases import (
    checkpoints,
    commands,
    configurations,
    dataset,
    importers,
    lists,
    own_data,
    results,
)
from laboratory.battery.cases.maker import Maker
from laboratory.battery.worker import Case
from laboratory.battery.world import World

GROUPS = (
    *(results.results, results.detections, dataset.infos, dataset.tables, results.run_files),
    *(lists.manifests, lists.locks, lists.records, lists.histories, checkpoints.checkpoints),
    *(checkpoints.resumed, configurations.configurations, configurations.settings),
    *(
        commands.command_lines,
        commands.numbers,
        checkpoints.archives,
        dataset.images,
        commands.shell,
    ),
    *(own_data.splits, own_data.calibrations, own_data.csv_files, own_data.recordings),
    *(importers.kitti_files, importers.feather_files, commands.good, own_data.good),
)


def all_cases(world: World, seed: int, scale: float) -> list[Case]:
    """The cases of every group, the same for the same seed; ``scale``: how many, 1 for all."""
    make = Maker(world, seed, scale)
    return [case for group in GROUPS for case in group(make)]
