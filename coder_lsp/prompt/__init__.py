"""From text around a cursor to the tokens a model was trained to continue."""
