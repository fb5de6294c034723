"""The parts of the `owntracks` protocol: see protocols/owntracks.py, where the documents are named."""
