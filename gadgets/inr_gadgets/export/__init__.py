"""Images of a reconstruction as files of the world outside: DICOM, NIfTI, pictures."""
