"""Speech: recordings, their WORLD features, and crops of utterances."""
