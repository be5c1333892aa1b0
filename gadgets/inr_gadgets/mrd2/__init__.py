"""MRD version 2: streams as the package mrd-python (extra ``mrd2``) reads and writes them, in place of version 1.

Everything behind this folder sees items of ISMRMRD (version 1) only; they are converted here, at the edge. Its modules
import mrd-python; import them only where a stream of version 2 is at hand.
"""
