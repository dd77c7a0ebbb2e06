"""Folders anywhere: on a disk, in Google Cloud Storage (``gs://``) or in S3 (``s3://``); the only door to object stores."""

from hepml_core.storage.folders import FileStat, Folder, LocalFolder, disk_errors, in_parallel, open_folder

__all__ = ["FileStat", "Folder", "LocalFolder", "disk_errors", "in_parallel", "open_folder"]
