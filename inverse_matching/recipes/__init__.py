"""What configs are made of, for those in configs/ and for a user's own: a config file may be copied and run anywhere."""
