"""One training loop for every domain and device: ``training.fit.fit``, with the settings of ``training.config``."""
