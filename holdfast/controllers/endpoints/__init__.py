"""Who stands behind a Service: its EndpointSlices, and the older Endpoints object."""
