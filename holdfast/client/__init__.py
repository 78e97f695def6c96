"""The client interface, its HTTP implementation, informers, queues, the event recorder."""
