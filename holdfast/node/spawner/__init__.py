"""The process that forks for the node, which is too big and too threaded to fork itself."""
