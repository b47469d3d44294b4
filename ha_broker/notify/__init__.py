"""Messages to people: what this node's broker did, by e-mail and webhook."""
