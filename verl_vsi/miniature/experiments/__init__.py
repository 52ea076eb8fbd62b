"""What the paper tells of without a table of its own, tried on the miniature through the real verl: see `variants`."""
