"""The recon gadget: a method of the core at the pace of a scan, slice by slice."""
