"""The node: pods, runtimes, images, mounts, network, nameserver, proxy, streams."""
