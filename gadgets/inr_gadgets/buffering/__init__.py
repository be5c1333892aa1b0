"""The buffer gadget: readouts become frames."""
