"""The parts of the `osmand` protocol: see protocols/osmand.py, where the documents are named."""
