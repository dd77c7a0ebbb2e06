"""Event displays: classify pictures of whole events by process."""
