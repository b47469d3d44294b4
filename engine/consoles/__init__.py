"""Serial consoles for people with ssh: a stock sshd before, the node with the VM behind, and who may in between."""
