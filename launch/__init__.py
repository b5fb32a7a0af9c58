"""Set-up, server and command line: what lies around the node pack, never imported by it."""
