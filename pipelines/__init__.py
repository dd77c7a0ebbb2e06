"""Kubeflow pipelines: one file a domain. ``python -m pipelines compile|run|submit <domain>``."""
