"""The real ports of a broker: threads, the board's files, libvirt, epochs, agents, local files, systemd."""
