"""The MRD protocol on a socket or a pipe: bytes, messages, a guarded connection, the client's side."""
