"""oVirt's API v4: a model (data, derived from the published SDK), two codecs driven by it, and one module per noun."""
