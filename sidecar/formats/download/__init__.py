"""Downloads: whole presentations in one file."""
