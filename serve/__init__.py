"""The Ray Serve application that answers questions over HTTP."""
