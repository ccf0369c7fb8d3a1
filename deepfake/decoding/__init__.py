"""Files of strangers to samples, in processes that may fail: for the API and the page."""
