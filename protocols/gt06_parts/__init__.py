"""Parts of `protocols/gt06.py`: what stands in a packet, and which packets there are."""
