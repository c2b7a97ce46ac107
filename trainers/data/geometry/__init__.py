"""Voxel grids, resampling, distances."""
