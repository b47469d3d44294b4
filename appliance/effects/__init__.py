"""The only contact with the operating system: processes, files, clocks, sockets, libvirt."""
