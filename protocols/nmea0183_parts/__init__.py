"""Parts of `protocols/nmea0183.py`: dialects, the epoch, the sky."""
