"""Images: the data sets, and the map from pixels to the space of the teacher."""
