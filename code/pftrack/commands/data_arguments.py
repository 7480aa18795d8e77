"""Options that name the data, shared by commands; nothing heavy is imported."""

from __future__ import annotations

import argparse


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Options that name other data than the configuration (variables NUSCENES and VERSION)."""
    parser.add_argument(
        "--nuscenes",
        metavar="FOLDER",
        help="with samples/ and the info files; default: the config's",
    )
    parser.add_argument(
        "--version", help="whose info files, e.g. v1.0-mini; default: those the config names"
    )


def add_strict_option(parser: argparse.ArgumentParser) -> None:
    """Option of commands that evaluate."""
    parser.add_argument(
        "--strict-split",
        action="store_true",
        help="every scene of the split must be there, as the official server demands",
    )


def add_table_options(parser: argparse.ArgumentParser, beside: str = "RESULT") -> None:
    """Options of commands that hold results against the tables (see :func:`tables_of`)."""
    known = f"default: from run.json beside {beside}"
    parser.add_argument("--dataroot", help=f"nuScenes' folder; {known}, data/nuscenes")
    parser.add_argument("--version", help=f"{known}, v1.0-trainval")
    parser.add_argument("--split", help=f"{known}, val")
