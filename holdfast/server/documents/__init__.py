"""What the server says about itself: discovery, OpenAPI v2 and v3. All derived from the KindTable."""
