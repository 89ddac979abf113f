"""Drawing of pictures of samples and answers."""
