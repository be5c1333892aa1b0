"""Programs that wait for scans: server, sessions, what a client asks for, links with Gadgetron, standard streams."""
