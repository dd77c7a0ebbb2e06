"""Kubeflow components: one file a stage; each runs ``hepml_core.stages.run_stage`` in a container or a subprocess."""
