"""One picture of a generated dataset."""

from pathlib import Path

import cv2

from laboratory.demo_data.contact_sheet import LAYOUT, MOMENTS, TILE, write_contact_sheet


def test_six_cameras_at_several_moments(demo_data: Path, tmp_path: Path) -> None:
    write_contact_sheet(demo_data, tmp_path / "sheet.png")
    height, width = cv2.imread(str(tmp_path / "sheet.png")).shape[:2]
    assert width >= TILE[0] * len(LAYOUT[0])
    assert height >= TILE[1] * len(LAYOUT) * MOMENTS
