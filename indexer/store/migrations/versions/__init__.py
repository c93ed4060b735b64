"""Migrations, one file each, oldest first by revision chain."""
