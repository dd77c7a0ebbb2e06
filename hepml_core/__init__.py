"""Physics and learning of hepml: five domains, one vocabulary of stages."""
