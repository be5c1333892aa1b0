"""The stream: ISMRMRD readouts in, ISMRMRD images out, as gadgets that run alone, in a chain, or inside Gadgetron."""
