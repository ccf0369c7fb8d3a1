"""Who speaks: encrypted profiles of enrolled speakers, and how near a recording is to them."""
