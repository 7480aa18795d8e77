"""Everything that exists for mmcv, mmdet and mmdet3d."""
