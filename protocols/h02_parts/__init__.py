"""The parts of the `h02` protocol: see protocols/h02.py, where the documents are named."""
