"""People: profile folders and what is kept in them."""
