"""Physics and learning of hepml: five domains, one vocabulary of stages."""

__version__ = "0.1.0"
